package recovery_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/wasakari/wasakari/recovery"
)

func TestSecretIsNeverShown(t *testing.T) {
	const value = "hunter2-and-more"
	s := recovery.Secret{Name: "acme.token", Value: value, Origin: "https://tickets.example.com", Places: []string{"body"}}
	holder := struct {
		S recovery.Secret
		P *recovery.Secret
		M map[string]recovery.Secret
	}{s, &s, map[string]recovery.Secret{"acme.token": s}}

	var shown []string
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%c", "%U"} {
		shown = append(shown, fmt.Sprintf(verb, s), fmt.Sprintf(verb, &s), fmt.Sprintf(verb, holder), fmt.Sprintf(verb, []recovery.Secret{s}))
	}
	shown = append(shown, fmt.Sprint(s), fmt.Errorf("secret %v", s).Error(), s.String(), s.GoString())
	for _, v := range []any{s, &s, holder} {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		shown = append(shown, string(b))
	}
	var logs bytes.Buffer
	slog.New(slog.NewTextHandler(&logs, nil)).Info("secret", "s", s, "holder", holder)
	slog.New(slog.NewJSONHandler(&logs, nil)).Info("secret", "s", s, "holder", holder)
	for _, enc := range []zapcore.Encoder{
		zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()),
		zapcore.NewConsoleEncoder(zap.NewDevelopmentEncoderConfig()),
	} {
		l := zap.New(zapcore.NewCore(enc, zapcore.AddSync(&logs), zap.DebugLevel))
		l.Info("secret", zap.Any("s", s), zap.Any("p", &s), zap.Any("holder", holder), zap.Stringer("str", s), zap.Reflect("r", s))
		l.Sugar().Infof("secret %v %+v", s, holder)
	}
	shown = append(shown, logs.String())

	hexed := fmt.Sprintf("%x", value)
	for _, text := range shown {
		if strings.Contains(text, value) || strings.Contains(strings.ToLower(text), hexed) || strings.Contains(text, "[104 117 110") {
			t.Errorf("the value is shown: %s", text)
		}
	}
	if got, want := s.String(), `{"$secret":"acme.token"}`; got != want {
		t.Errorf("String() = %s, want %s", got, want)
	}
	if got, _ := json.Marshal(s); string(got) != `{"$secret":"acme.token"}` {
		t.Errorf("JSON = %s", got)
	}
}

func TestSecretBound(t *testing.T) {
	tests := []struct {
		name string
		s    recovery.Secret
		want bool
	}{
		{"nothing said", recovery.Secret{Name: "a.b", Value: "v"}, false},
		{"origin alone", recovery.Secret{Name: "a.b", Origin: "https://h"}, false},
		{"place alone", recovery.Secret{Name: "a.b", Places: []string{"body"}}, false},
		{"both", recovery.Secret{Name: "a.b", Origin: "https://h", Places: []string{"body"}}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.s.Bound(); got != tt.want {
				t.Errorf("Bound() = %t, want %t", got, tt.want)
			}
		})
	}
}

func TestSecretShort(t *testing.T) {
	for value, want := range map[string]bool{"": true, "calvin": true, "1234567\r\n": true, "pässwör": true, "12345678": false, "pässwört\n": false} {
		if got := (recovery.Secret{Value: value}).Short(); got != want {
			t.Errorf("%q: Short() = %t, want %t", value, got, want)
		}
	}
}
