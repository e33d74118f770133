// Package safeyaml refuses YAML that makes a reader explode or recurse, before
// the reader sees it: a few hundred bytes of aliases of aliases stand for
// gigabytes. What it complains of begins with NAME:LINE:COL.
package safeyaml

import (
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

const (
	// maxNesting is how deep a document may be nested; a good one has 5 levels.
	maxNesting = 32
	// maxTokens bounds names, values and signs: readers take time by their square.
	maxTokens = 1 << 18
	// maxDocuments bounds the documents of a file; what wants one of them says so.
	maxDocuments = 8
)

// Problem is the first thing in a document that is refused.
type Problem struct {
	Line, Col int
	Reason    string
	Hint      string // what to do; may be empty
}

// Error reads "line:col: reason".
func (p *Problem) Error() string { return fmt.Sprintf("%d:%d: %s", p.Line, p.Col, p.Reason) }

// Check refuses anchors, aliases, tags and deep nesting with a *Problem.
func Check(text []byte) error {
	depth, line, dashes, headers := 0, 0, 0, 0
	for i, t := range lexer.Tokenize(string(text)) {
		refuse := func(reason, hint string) error {
			return &Problem{t.Position.Line, t.Position.Column, reason, hint}
		}
		if i >= maxTokens {
			return refuse(fmt.Sprintf("more than %d names, values and signs", maxTokens), "split it")
		}
		if t.Position.Line != line {
			line, dashes = t.Position.Line, 0
		}
		switch t.Type {
		case token.AnchorType, token.AliasType, token.MergeKeyType:
			return refuse("anchors and aliases are not allowed", "write it out")
		case token.DocumentHeaderType:
			if headers++; headers > maxDocuments {
				return refuse(fmt.Sprintf("more than %d documents", maxDocuments), "write one")
			}
		case token.TagType:
			return refuse("tags are not allowed", "leave it out")
		case token.MappingStartType, token.SequenceStartType:
			depth++
		case token.MappingEndType, token.SequenceEndType:
			depth--
		case token.SequenceEntryType, token.MappingKeyType:
			dashes++
		}
		if depth > maxNesting || dashes > maxNesting || t.Position.IndentNum > 8*maxNesting {
			return refuse("nested too deep", "")
		}
	}
	return nil
}

// Decode reads the document of a text into v, and refuses what Check does,
// unknown and doubled fields, and a second document. One in which nothing is
// leaves v as it was.
func Decode(name string, text []byte, v any) (*ast.File, error) {
	if err := Check(text); err != nil {
		return nil, located(name, err)
	}
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		return nil, located(name, err)
	}
	if len(file.Docs) > 1 {
		return nil, fmt.Errorf("%s:1:1: %d documents, want one", name, len(file.Docs))
	}
	if len(file.Docs) == 1 && file.Docs[0].Body != nil {
		if err := yaml.NodeToValue(file.Docs[0].Body, v, yaml.Strict()); err != nil {
			return nil, located(name, err)
		}
	}
	return file, nil
}

// JSON turns a text into JSON, and refuses what Check does.
func JSON(name string, text []byte) ([]byte, error) {
	if err := Check(text); err != nil {
		return nil, located(name, err)
	}
	doc, err := yaml.YAMLToJSON(text)
	if err != nil {
		return nil, located(name, err)
	}
	return doc, nil
}

// located turns an error of Check or of the reader into NAME:LINE:COL: message,
// with the hint and without the lines of the text that the reader quotes.
func located(name string, err error) error {
	if p, ok := errors.AsType[*Problem](err); ok {
		if p.Hint != "" {
			return fmt.Errorf("%s:%w; %s", name, p, p.Hint)
		}
		return fmt.Errorf("%s:%w", name, p)
	}
	if ye, ok := errors.AsType[yaml.Error](err); ok && ye.GetToken() != nil && ye.GetToken().Position != nil {
		p := ye.GetToken().Position
		return fmt.Errorf("%s:%d:%d: %s", name, p.Line, p.Column, ye.GetMessage())
	}
	return fmt.Errorf("%s: %w", name, err)
}

// Position finds LINE:COL of a place such as hosts[2].name, or of the nearest
// thing around it that is written in the file, which may be nil.
func Position(file *ast.File, where string) string {
	for where != "" && file != nil {
		if p, err := yaml.PathString("$." + where); err == nil {
			if n, err := p.FilterFile(file); err == nil && n != nil {
				// The token of a mapping is the colon of its first pair.
				if m, ok := n.(*ast.MappingNode); ok && len(m.Values) > 0 {
					n = m.Values[0].Key
				}
				if t := n.GetToken(); t != nil && t.Position != nil {
					return fmt.Sprintf("%d:%d", t.Position.Line, t.Position.Column)
				}
			}
		}
		i := strings.LastIndexAny(where, ".[")
		if i < 0 {
			break
		}
		where = where[:i]
	}
	return "1:1"
}
