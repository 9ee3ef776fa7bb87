// Package publish writes what mail needs into a zone, by UPDATEs (RFC 2136) under a key: the
// DKIM keys of the signer, SPF, DMARC, MTA-STS, TLS-RPT and MX records. What stands there is
// compared first; nothing is written where nothing differs, and nobody else's change is lost.
//
// The signer's keys are looked after for as long as it runs. Whoever puts a service together
// does
//
//	keys := &publish.Keys{Writer: …, Zone: …, Keys: …, File: state + "/published.json", Log: log}
//	if err := keys.Load(); err != nil { … }
//	signer.Published = keys.Ready // mail waits with its sender until a key is there
//	go keys.Run(ctx)
//	keys.Wait(ctx)                // perhaps, before the first mail is taken
package publish
