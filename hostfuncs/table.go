package hostfuncs

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/wasakari/wasakari/abi"
)

// maxRequest bounds one request, in bytes: a value of the largest size and what
// goes around it.
const maxRequest = maxValue + 4<<10

type serveFunc func(ctx context.Context, t *TaskHost, req []byte) ([]byte, error)

// rows has one row for each op, by abi.Op.Index. task.reason and task.cancel are
// the runtime's and have none.
var rows []serveFunc

func init() {
	table := map[string]serveFunc{
		abi.OpTaskInput:  row(abi.OpTaskInput, taskInput),
		abi.OpTaskScript: row(abi.OpTaskScript, taskScript),
		abi.OpTaskSleep:  row(abi.OpTaskSleep, taskSleep),

		abi.OpKVGet:    row(abi.OpKVGet, kvGet),
		abi.OpKVPut:    row(abi.OpKVPut, kvPut),
		abi.OpKVDelete: row(abi.OpKVDelete, kvDelete),
		abi.OpKVList:   row(abi.OpKVList, kvList),

		abi.OpNovaServerGet:         row(abi.OpNovaServerGet, serverGet),
		abi.OpNovaServerList:        row(abi.OpNovaServerList, serverList),
		abi.OpNovaServerEvacuate:    row(abi.OpNovaServerEvacuate, serverEvacuate),
		abi.OpNovaServerStop:        row(abi.OpNovaServerStop, serverStop),
		abi.OpNovaServerStart:       row(abi.OpNovaServerStart, serverStart),
		abi.OpNovaServerReboot:      row(abi.OpNovaServerReboot, serverReboot),
		abi.OpNovaServerLock:        row(abi.OpNovaServerLock, serverLock),
		abi.OpNovaServerUnlock:      row(abi.OpNovaServerUnlock, serverUnlock),
		abi.OpNovaServerResetState:  row(abi.OpNovaServerResetState, serverResetState),
		abi.OpNovaServerMigrate:     row(abi.OpNovaServerMigrate, serverMigrate),
		abi.OpNovaServerLiveMigrate: row(abi.OpNovaServerLiveMigrate, serverLiveMigrate),
		abi.OpNovaServerWait:        row(abi.OpNovaServerWait, serverWait),

		abi.OpNovaServiceList:      row(abi.OpNovaServiceList, serviceList),
		abi.OpNovaServiceDisable:   row(abi.OpNovaServiceDisable, serviceDisable),
		abi.OpNovaServiceEnable:    row(abi.OpNovaServiceEnable, serviceEnable),
		abi.OpNovaServiceForceDown: row(abi.OpNovaServiceForceDown, serviceForceDown),
		abi.OpNovaServiceWait:      row(abi.OpNovaServiceWait, serviceWait),

		abi.OpNovaAggregateList:       row(abi.OpNovaAggregateList, aggregateList),
		abi.OpNovaAggregateAddHost:    row(abi.OpNovaAggregateAddHost, aggregateAddHost),
		abi.OpNovaAggregateRemoveHost: row(abi.OpNovaAggregateRemoveHost, aggregateRemoveHost),

		abi.OpNovaHypervisorList: row(abi.OpNovaHypervisorList, hypervisorList),
		abi.OpNovaMigrationList:  row(abi.OpNovaMigrationList, migrationList),

		abi.OpHASegmentGet: row(abi.OpHASegmentGet, segmentGet),
		abi.OpHAHostList:   row(abi.OpHAHostList, hostList),
		abi.OpHAHostUpdate: row(abi.OpHAHostUpdate, hostUpdate),
		abi.OpHAVMoveList:  row(abi.OpHAVMoveList, vmoveList),
		abi.OpHAVMovePut:   row(abi.OpHAVMovePut, vmovePut),

		abi.OpHTTPRequest: row(abi.OpHTTPRequest, httpRequest),
	}
	for _, op := range abi.Ops() {
		rows = append(rows, table[op.Name])
	}
}

// row makes a serveFunc of a function of documents. An answer of
// json.RawMessage is taken as it is.
func row[Req, Ans any](op string, f func(context.Context, *TaskHost, Req) (Ans, error)) serveFunc {
	return func(ctx context.Context, t *TaskHost, data []byte) ([]byte, error) {
		var req Req
		if err := abi.DecodeRequest(op, data, &req); err != nil {
			t.unread(op, data, err)
			return nil, err
		}
		if err := t.admit(ctx, op, req); err != nil {
			return nil, err
		}
		ans, err := f(ctx, t, req)
		if err != nil {
			return nil, err
		}
		if raw, ok := any(ans).(json.RawMessage); ok {
			return raw, nil
		}
		b, err := json.Marshal(ans)
		if err != nil {
			return nil, fmt.Errorf("encoding the answer: %w", err)
		}
		return b, nil
	}
}

// empty is the answer of ops that have nothing to say.
type empty struct{}

// requestID is the answer of most changes.
type requestID struct {
	RequestID string `json:"request_id,omitempty"`
}
