package main

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"sync"
	"time"

	"stagecoach/rfc/dns"
	"stagecoach/spam/signal"
	"stagecoach/stage/filter"
)

// reputationFile is in the folder of lessons: what was thought of senders.
const reputationFile = "reputation"

// How often reputations are written down; a crash costs that much of them. And how often it is said
// that a block list does not serve us.
const (
	saveReputation = 10 * time.Minute
	sayTrouble     = time.Hour
)

// signals lets a judge know senders by their earlier mail, where there is a folder for that, and by
// block lists, where some are named.
func (p *process) signals(judge *filter.Spam, o spamOptions, folder string, ask dns.Exchanger) error {
	if o.Lessons != "" {
		folder = o.Lessons
	}
	if folder != "" {
		if err := p.reputation(judge, filepath.Join(folder, reputationFile)); err != nil {
			return fmt.Errorf("spam filter: %w", err)
		}
	}
	if len(o.BlockLists) == 0 {
		return nil
	}
	lists, err := signal.NewBlockLists(o.BlockLists, ask)
	if err != nil {
		return fmt.Errorf("spam filter: %w", err)
	}
	var mu sync.Mutex
	said := map[string]time.Time{}
	lists.Trouble = func(ctx context.Context, zone string, err error) {
		mu.Lock()
		defer mu.Unlock()
		if time.Since(said[zone]) < sayTrouble {
			return
		}
		said[zone] = time.Now()
		p.log.WarnContext(ctx, "a block list does not answer", "list", zone, "error", err.Error())
	}
	judge.BlockLists = lists
	return nil
}

func (p *process) reputation(judge *filter.Spam, file string) error {
	judge.Reputation = &signal.Reputation{}
	if err := judge.Reputation.Load(file); err != nil {
		return err
	}
	if p.idle {
		return nil
	}
	p.behind("reputation", func(ctx context.Context) error {
		tick := time.NewTicker(saveReputation)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
				if err := judge.Reputation.Save(file); err != nil {
					p.log.Error("reputations are not written down", "error", err.Error())
				}
			}
		}
	})
	p.closing(func() error { return judge.Reputation.Save(file) })
	return nil
}

// listed asks the block lists while a mail is being verified, so that the filter finds the answers in
// the resolver's memory. It is nil without lists.
func listed(judge *filter.Spam) func(context.Context, netip.Addr) {
	if judge.BlockLists == nil {
		return nil
	}
	return func(ctx context.Context, client netip.Addr) { judge.BlockLists.Evidence(ctx, client) }
}
