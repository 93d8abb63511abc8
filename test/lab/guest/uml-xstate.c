/* Preloaded into linux.uml on hosts whose CPU has AMX. Since AMX the host's ptrace(PTRACE_SETREGSET, NT_X86_XSTATE)
 * takes only the whole state (arch/x86/kernel/fpu/regset.c: count != fpu_user_cfg.max_size is -EFAULT), but User-Mode
 * Linux 6.1 keeps 2696 bytes of it and panics "ptrace set fp regs failed, errno = 14". Here the state is read whole,
 * the guest's part is laid over it, and the whole is written back. Everything else goes to the kernel as it came.
 * It is not for AMX inside the guest: tile registers are not switched between guest processes. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define NOTE_X86_XSTATE 0x202 /* NT_X86_XSTATE of linux/elf.h */

static unsigned char whole_state[65536] __attribute__((aligned(64)));

static long to_kernel(long request, long pid, long address, long data)
{
	return syscall(SYS_ptrace, request, pid, address, data);
}

long ptrace(enum __ptrace_request request, ...)
{
	va_list rest;
	va_start(rest, request);
	long pid = va_arg(rest, int);
	long address = va_arg(rest, long);
	long data = va_arg(rest, long);
	va_end(rest);

	if (request == PTRACE_PEEKTEXT || request == PTRACE_PEEKDATA || request == PTRACE_PEEKUSER) {
		/* The system call stores the word, the libc function returns it. */
		long word;
		if (to_kernel(request, pid, address, (long)&word) < 0)
			return -1;
		errno = 0;
		return word;
	}
	if (request == PTRACE_SETREGSET && address == NOTE_X86_XSTATE) {
		const struct iovec *part = (const struct iovec *)data;
		struct iovec whole = { whole_state, sizeof whole_state };
		if (to_kernel(PTRACE_GETREGSET, pid, address, (long)&whole) < 0)
			return -1;
		if (part->iov_len < whole.iov_len) {
			memcpy(whole_state, part->iov_base, part->iov_len);
			return to_kernel(PTRACE_SETREGSET, pid, address, (long)&whole);
		}
	}
	return to_kernel(request, pid, address, data);
}
