package dns

import "syscall"

const sysSendmmsg = syscall.SYS_SENDMMSG
