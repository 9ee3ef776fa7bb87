package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"stagecoach/account"
	"stagecoach/mail"
	"stagecoach/stage/confirm"
)

// In the state folder: the key of the tokens, and what was asked and answered.
const (
	confirmKey    = "confirm.key"
	confirmLedger = "confirmations.json"
)

// confirmer makes the stage before forwarding that asks unconfirmed targets and takes their
// answers. send takes the questions: it signs and queues them. takes is for the gates of both
// edges. When confirmation is switched off nobody is asked, and next is returned.
func (p *process) confirmer(id identityOptions, o userOptions, accounts *account.Directory, folder string, send, next mail.Handler) (h mail.Handler, takes func(mail.Address) bool, err error) {
	if !o.Confirm {
		return next, func(mail.Address) bool { return false }, nil
	}
	key, err := ensureSecret(filepath.Join(folder, confirmKey))
	if err != nil {
		return nil, nil, err
	}
	ledger, err := confirm.OpenLedger(filepath.Join(folder, confirmLedger))
	if err != nil {
		return nil, nil, fmt.Errorf("confirmations: %w", err)
	}
	c := &confirm.Confirmer{
		Accounts: accounts, Ledger: ledger, Key: key, Next: next, Send: send, Poll: time.Duration(o.Poll), Log: p.log,
	}
	if keeper, settings, ok := accounts.Keeper(); ok {
		c.Store = confirm.InFiles(keeper, settings, account.Author{Name: "stagecoach", Email: "postmaster@" + id.Domain})
	}
	if err := c.Believe(); err != nil {
		return nil, nil, err
	}
	p.behind("confirm", c.Run)
	p.hangup("targets to ask", func(context.Context) error { c.Wake(); return nil })
	return p.obs.stage("confirm", false, c), c.Takes, nil
}
