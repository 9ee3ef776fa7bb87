package authority

import (
	"context"
	"time"
)

// packer is a Repository that grows with every commit and can be packed. *repo.Remote is one: it
// packs by itself too when much was committed.
type packer interface {
	Pack(ctx context.Context) error
	// PackFailure is what went wrong when it did so by itself.
	PackFailure() error
}

// packEvery is for those repositories that few commits go into.
const packEvery = time.Hour

// packFailed puts what became of packing in the background into the log.
func (a *Authority) packFailed() {
	if p, ok := a.Repo.(packer); ok {
		if err := p.PackFailure(); err != nil {
			a.Log.Warn("authority: the repository could not be packed", "err", err)
		}
	}
}

func (a *Authority) packLoop(ctx context.Context) {
	p, ok := a.Repo.(packer)
	if !ok {
		return
	}
	t := time.NewTicker(packEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			if err := p.Pack(ctx); err != nil && ctx.Err() == nil {
				a.Log.Warn("authority: the repository could not be packed", "err", err)
			}
		}
	}
}
