package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/wasakari/wasakari/flow"
	"github.com/wasakari/wasakari/recovery"
)

// reserved holds a reserved host across runs and nodes while next decides what
// else a claim needs. It serves flow.Reserved.
type reserved struct {
	run  Run
	next flow.Reserved
}

// Claim makes the host the run's own first.
func (r reserved) Claim(ctx context.Context, host string) error {
	if err := r.run.ClaimReserved(ctx, host); err != nil {
		return err
	}
	if r.next == nil {
		return nil
	}
	err := r.next.Claim(ctx, host)
	if err == nil || ctx.Err() != nil { // a run that is stopped keeps it for whoever goes on
		return err
	}
	return errors.Join(err, r.run.ReleaseReserved(ctx, host))
}

// Settle gives the host back when nothing that was done to it has to be undone.
// Otherwise it stays the run's until that has ended.
func (r reserved) Settle(ctx context.Context, host string) error {
	if r.next != nil {
		if err := r.next.Settle(ctx, host); err != nil {
			return err
		}
	}
	undos, err := r.run.Undos(ctx)
	if err != nil {
		return fmt.Errorf("undo list: %w", err)
	}
	if slices.ContainsFunc(undos, func(u recovery.Undo) bool { return u.Host == host }) {
		return nil
	}
	return r.run.ReleaseReserved(ctx, host)
}
