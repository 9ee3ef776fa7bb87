package main

import (
	"slices"
	"strings"

	"stagecoach/name/authority"
	"stagecoach/tool/setup"
)

// summary says what was decided.
func (p *plan) summary(t *talk) {
	d := p.domain
	t.title(d.Name)
	var addresses, servers []string
	for _, a := range d.Addresses {
		addresses = append(addresses, a.String())
	}
	for _, s := range d.NameServers {
		host := s.Host
		if s.Elsewhere {
			host += " (elsewhere)"
		}
		servers = append(servers, host)
	}
	t.say("  this machine     %s", strings.Join(addresses, ", "))
	t.say("  name servers     %s", strings.Join(servers, ", "))
	t.say("  mail comes to    %s, port 25", d.MX)
	t.say("  users send by    %s, ports 465 and 587", d.Submission)
	if !p.user.address.IsZero() {
		var targets []string
		for _, a := range p.user.targets {
			targets = append(targets, a.String())
		}
		t.say("  first user       %s, who reads mail at %s", p.user.address, strings.Join(targets, ", "))
	}
	t.say("  state            %s", p.service.State)
	t.say("  configuration    %s", p.config)
}

// tell says what others have to enter, and what comes next here.
func (p *plan) tell(t *talk, made []string, installing bool) error {
	if len(made) == 0 {
		t.say("\nNothing was to be done: all is there, and was left as it is.")
	}
	if err := p.compare(t); err != nil {
		return err
	}
	signing := &authority.Signing{Dir: p.service.DNSSEC()}
	ds, err := signing.DS(p.domain.Name, p.now)
	if err != nil {
		return err
	}
	for _, paste := range p.domain.Pastes(ds) {
		t.title(paste.Who)
		t.say("%s", paste.Why)
		for _, line := range paste.Lines {
			t.say("    %s", line)
		}
		t.say("%s", paste.Note)
	}
	p.secondaries(t)
	p.tellUser(t)
	if !installing {
		t.title("On this machine, to install the service and start it")
		t.say("    %s", "stagecoach service install"+p.configFlag())
		t.say("Without systemd: stagecoach serve%s", p.configFlag())
	}
	t.title("Afterwards")
	t.say("    stagecoach check %s        says what of all this the world sees", p.domain.Name)
	t.say("Keep a copy of %s: with other keys than these the domain has to be set up anew.", p.service.State)
	return nil
}

func (p *plan) configFlag() string {
	if p.config == "/etc/stagecoach.toml" {
		return ""
	}
	return " --config " + p.config
}

// differs says which flags are not what the domain was set up with: init changes nothing that is there.
func (c initCmd) differs(t *talk, have setup.Domain) {
	hint := func(flag, given, is string) {
		t.warn("--%s %s is not what was set up, which is %s; that stays: change it in the zone and, where it stands there, in the configuration.", flag, given, is)
	}
	for _, a := range c.Address {
		if !slices.Contains(have.Addresses, a.Unmap()) {
			hint("address", a.String(), list(have.Addresses))
		}
	}
	for flag, names := range map[string][3]string{"mx": {c.MX, "mx", have.MX}, "submission": {c.Submission, "smtp", have.Submission}} {
		given, fallback, is := names[0], names[1], names[2]
		if given != fallback && given != is && given+"."+have.Name != is {
			hint(flag, given, is)
		}
	}
	for _, text := range c.SecondaryNS {
		s, err := setup.ParseSecondary(text)
		if err == nil && !slices.ContainsFunc(have.NameServers, func(n setup.NameServer) bool { return n.Host == s.Host || n.Host == s.Host+"."+have.Name }) {
			hint("secondary-ns", text, "without it")
		}
	}
}

// compare says what the zone lacks that init would write today.
func (p *plan) compare(t *talk) error {
	if !p.known {
		return nil
	}
	d, err := p.domain.Check()
	if err != nil {
		return err
	}
	dkim, err := p.dkimRecords()
	if err != nil {
		return err
	}
	lacks, err := setup.Lacks(d.Name, string(p.zone[d.Name]), d.Zone(dkim, p.now))
	if err != nil || len(lacks) == 0 {
		return err
	}
	t.say("")
	t.warn("the zone has been changed since, and lacks what init would write:")
	for _, record := range lacks {
		t.say("    %s", record)
	}
	return nil
}

// secondaries says what name servers elsewhere need.
func (p *plan) secondaries(t *talk) {
	for _, s := range p.domain.NameServers {
		if !s.Elsewhere {
			continue
		}
		t.title("On " + s.Host)
		t.say("Copy %s there, mode 0600, and run (or give the key to BIND, Knot or NSD):", p.service.Key(setup.RoleTransfer))
		t.say("    stagecoach secondary --zone %s --primary tcp:%s --dns-key @transfer.key", p.domain.Name, p.domain.Addresses[0])
	}
}
