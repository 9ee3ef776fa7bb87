package setup

import (
	"fmt"
	"strings"
)

// UnitName is the name of the service for systemd.
const UnitName = "stagecoach.service"

// UnitUser is the user that the service runs as.
const UnitUser = "stagecoach"

// A Unit says how systemd runs the service. All paths are absolute.
type Unit struct {
	Program string // of stagecoach
	Config  string
	State   string
}

// Text returns the unit (systemd.service(5), systemd.exec(5)). The service runs as a user of its
// own who may open low ports, and no more: it writes its state and nothing else.
func (u Unit) Text() string {
	state := "ReadWritePaths=" + unitWord(u.State)
	if u.State == DefaultState {
		state = "StateDirectory=stagecoach\nStateDirectoryMode=0700"
	}
	return fmt.Sprintf(unitText, unitWord(u.Program), unitWord(u.Config), state)
}

// SysUser returns the user for systemd-sysusers (sysusers.d(5)). Whoever has an SSH key in the
// state folder may fetch and push as that user where shell is git-shell.
func (u Unit) SysUser(shell string) string {
	return fmt.Sprintf("u %s - \"Stagecoach mail service\" %s %s\n", UnitUser, u.State, shell)
}

// unitWord quotes a word of a unit (systemd.syntax(7)).
func unitWord(s string) string {
	s = strings.ReplaceAll(s, "%", "%%")
	s = strings.ReplaceAll(s, "$", "$$")
	if !strings.ContainsAny(s, " \t\"'\\") {
		return s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

const unitText = `[Unit]
Description=Stagecoach mail service
Documentation=man:stagecoach(1)
Wants=network-online.target
After=network-online.target

[Service]
Type=exec
User=stagecoach
Group=stagecoach
ExecStart=%s serve --config %s
ExecReload=/bin/kill -HUP $MAINPID
Restart=always
RestartSec=2s
TimeoutStopSec=15s
LimitNOFILE=65536
UMask=0077
%s
RuntimeDirectory=stagecoach
RuntimeDirectoryMode=0755

# Ports below 1024 without root.
AmbientCapabilities=CAP_NET_BIND_SERVICE
CapabilityBoundingSet=CAP_NET_BIND_SERVICE
NoNewPrivileges=yes

# It sees the system read-only, no homes, no devices, and no other processes.
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
PrivateMounts=yes
ProtectProc=invisible
ProcSubset=pid
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
RemoveIPC=yes

# It makes nothing that a mail service has no use for.
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallErrorNumber=EPERM
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources

[Install]
WantedBy=multi-user.target
`
