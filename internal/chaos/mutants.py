#!/usr/bin/env python3
"""Breaks a promise of the service in a copy of the tree, one at a time, and looks
whether the tests notice.

    mutants.py COPY [NAME ...]        the tests of the rooms concerned
    mutants.py --chaos COPY [NAME ...] internal/chaos instead, built in COPY

COPY is a folder with a copy of the tree, which it changes and mends again.
"""
import re
import subprocess
import sys

MUTANTS = {
    # name: (file, what is there, what it becomes, packages whose tests should notice)
    "evacuates without looking": ("hostfuncs/nova_servers.go", """			if rebuilding(s) {
				return nil, conflict("server %s is being rebuilt (task state %s), a second evacuation""", """			if false {
				return nil, conflict("server %s is being rebuilt (task state %s), a second evacuation""", "./hostfuncs"),
    "evacuates while an evacuation is open": ("hostfuncs/nova_servers.go", "				if m.Open() {", "				if false {", "./hostfuncs"),
    "open intents are not settled": ("hostfuncs/change.go", "	open, err := h.ledger.OpenIntents(ctx)", "	open, err := []recovery.Intent(nil), error(nil)", "./hostfuncs"),
    "a run ends while a change may yet arrive": ("engine/retry.go", "j.left = len(undos) + len(open)", "j.left = len(undos)", "./engine"),
    "open intents are not settled at the end": ("hostfuncs/undo.go", "h.settleLeft(ctx), ", "", "./hostfuncs"),
    "undo list is not worked off": ("hostfuncs/undo.go", """		err = h.ledger.DropUndo(ctx, u.Key)
	}
	if err != nil {
		return fmt.Errorf("undo %s""", """		return nil
	}
	if err != nil {
		return fmt.Errorf("undo %s""", "./hostfuncs"),
    "lock is dropped from the list and stays": ("hostfuncs/undo.go", "		_, _, err = h.unlock(ctx, undoing, u.Target)", "", "./hostfuncs"),
    "run ends with something to undo": ("store/run.go", "if left := res[4].GetCount(); left > 0 && !leaving {", "if left := res[4].GetCount(); left < 0 {", "./store", ("			t.when(none(undo))", "			_ = undo")),
    "provides are written on their own": ("store/run.go", "			t.do(put(r.valueKey(generation, name), v))",
        "			if err := r.set(ctx, (&txn{name: step}).do(put(r.valueKey(generation, name), v))); err != nil {\n				return err\n			}", "./store"),
    "claim does not compare the lock": ("store/queue.go", '(&txn{name: "claim"}).when(absent(p.lock), unchanged(itemKey, f.itemMod), unchanged(s.key.notification(notification), f.nMod), unchanged(p.work, f.workMod))',
        '(&txn{name: "claim"})', "./store"),
    "VM run does not look at the host's lock": ("store/queue.go", "t.when(absent(p.hostLock), absent(p.hold)).do(", "t.do(", "./store",
        ('case q.Type == recovery.VM && q.Run == "" && (f.hostLocked || f.holder != ""):', 'case false:')),
    "host does not wait for VM runs": ("store/queue.go", "		t.when(none(p.vmruns))", "", "./store", ("case len(f.vmruns.GetKvs()) > 0:", "case false:")),
    "accept answers before it is written": ("store/accept.go", "		res, err := s.commit(ctx, t)\n", "		go func() { _, _ = s.commit(context.WithoutCancel(ctx), t) }()\n		res, err := result{ok: true, rev: 1}, error(nil)\n", "./store"),
    "queue item is not written with the notification": ("store/accept.go", "		t.do(put(s.key.item(n), item))", "		_ = item", "./store"),
    "nobody waits after a take-over": ("store/queue.go", "r.firstChange = time.Now().Add(s.cfg.TakeOverWait)", "_ = prev", "./store"),
    "fence is open": ("store/run.go", 'res, err := r.s.commit(ctx, t.when(clientv3.Compare(clientv3.CreateRevision(r.place.lock), "=", r.token)))', "res, err := r.s.commit(ctx, t)", "./store"),
    "claim's lock is not tied to the lease": ("store/queue.go", "t.do(put(p.lock, lock, clientv3.WithLease(sess.id)))", "t.do(put(p.lock, lock))", "./store"),
    "claim stays after the end": ("store/run.go", "			do(clientv3.OpDelete(r.place.lock), clientv3.OpDelete(r.place.work), ", "			do(clientv3.OpDelete(r.place.work), ", "./store"),
    "a lost answer is sent again": ("store/commit.go", "			if *sent && string(kv.Kvs[0].Value) == mark {", "			if false {", "./store", ("		if value == mark {", "		if value == mark && false {")),
    "stale lease is good": ("store/session.go", "func (s *session) good() bool { return s.alive() && s.unheard() < 2*s.ttl/3 }", "func (s *session) good() bool { return s.alive() }", "./store"),
}


def main():
    args = sys.argv[1:]
    chaos = args[:1] == ["--chaos"]
    if chaos:
        args = args[1:]
    tree, names = args[0], args[1:] or list(MUTANTS)
    missed = 0
    for name in names:
        file, was, now, packages, *more = MUTANTS[name]
        path = f"{tree}/{file}"
        with open(path) as f:
            before = f.read()
        text = before
        for a, b in [(was, now), *more]:
            if text.count(a) != 1:
                sys.exit(f"{name}: {file} has {text.count(a)} times {a!r}")
            text = text.replace(a, b)
        try:
            with open(path, "w") as f:
                f.write(text)
            command = ["make", "chaos-short"] if chaos else ["go", "test", "-count=1", "-failfast", "-vet=off", "-timeout=4m", *packages.split()]
            run = subprocess.run(command, cwd=tree, capture_output=True, text=True)
        finally:
            with open(path, "w") as f:
                f.write(before)
        out = run.stdout + run.stderr
        if "[build failed]" in out:
            sys.exit(f"{name}: {out}")
        why = re.findall(r"--- FAIL: (\S+)|(panic: test timed out[^$]*?\n\n)|_test\.go:\d+: (.{0,160})", out)
        noticed = "; ".join(filter(None, dict.fromkeys(x for w in why for x in w)))[:500]
        print(f"{name}: {'noticed by ' + noticed if run.returncode else 'MISSED'}", flush=True)
        missed += not run.returncode
    sys.exit(bool(missed))


main()
