package confirm

import (
	"context"

	"stagecoach/account"
	"stagecoach/mail"
)

// InFiles returns a Confirmer.Store that changes the files of accounts by a commit.
func InFiles(k account.Keeper, s account.Settings, by account.Author) func(ctx context.Context, user, target mail.Address) error {
	return func(ctx context.Context, user, target mail.Address) error {
		_, err := account.Edit(ctx, k, s, by, func(d *account.Draft) (string, error) {
			u, ok := d.Book.Holder(user)
			if !ok {
				return "", nil // removed in the meantime
			}
			return "Confirm a target of " + u.Address().String(), d.Confirm(u, target)
		})
		return err
	}
}
