package dns

// sysSendmmsg is missing in package syscall.
const sysSendmmsg = 307
