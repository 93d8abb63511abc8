/**
 * The only file that knows koffi: system calls as typed functions, errno read at once after the call. No protocol and no
 * policy. koffi is loaded by the first call, so importing this file costs nothing and needs no native code.
 *
 * A wrong signature here is memory corruption in a root process: every prototype is copied from the manual page, every
 * length is taken from a typed array and checked, and nothing else in the house may build one.
 */
import { createRequire } from 'node:module';
import { endianness } from 'node:os';
import { ERRNO, KernelError } from './errors.ts';

/** linux/socket.h */
export const AF = { INET: 2, INET6: 10, NETLINK: 16, PACKET: 17 } as const;
/** linux/net.h and linux/fcntl.h; the same on every architecture that Kubernetes and Node share. */
export const SOCK = { STREAM: 1, DGRAM: 2, RAW: 3, NONBLOCK: 0x800, CLOEXEC: 0x80000 } as const;
/** linux/socket.h */
export const MSG = { TRUNC: 0x20, DONTWAIT: 0x40, NOSIGNAL: 0x4000 } as const;
/** asm-generic/socket.h */
export const SOL_SOCKET = 1;
export const SO = { ERROR: 4, SNDBUF: 7, RCVBUF: 8, LINGER: 13, RCVTIMEO: 20, BINDTODEVICE: 25, RCVBUFFORCE: 33, MARK: 36 } as const;
/** linux/eventpoll.h */
export const EPOLL = { IN: 0x1, OUT: 0x4, ERR: 0x8, HUP: 0x10, RDHUP: 0x2000, ET: 0x8000_0000 } as const;
const EPOLL_CTL = { ADD: 1, DEL: 2 } as const;
const EPOLL_CLOEXEC = 0x80000;
/** bits/fcntl-linux.h */
export const LOCK = { SH: 1, EX: 2, NB: 4, UN: 8 } as const;
/** linux/sched.h */
export const CLONE_NEWNET = 0x40000000;
/** asm-generic/poll.h */
const POLLIN = 1;
/** asm/unistd.h: the C libraries have no functions for these. */
const AIO = process.arch === 'x64' ? { setup: 206, destroy: 207, getevents: 208, submit: 209 } : { setup: 0, destroy: 1, submit: 2, getevents: 4 };

interface Calls {
  socket(domain: number, type: number, protocol: number): number;
  bind(fd: number, address: Uint8Array, length: number): number;
  connect(fd: number, address: Uint8Array, length: number): number;
  epoll_create1(flags: number): number;
  epoll_ctl(epoll: number, operation: number, fd: number, event: Uint8Array): number;
  epoll_wait(epoll: number, events: Uint8Array, count: number, timeout: number): number;
  setsockopt(fd: number, level: number, option: number, value: Uint8Array, length: number): number;
  getsockopt(fd: number, level: number, option: number, value: Uint8Array, length: Int32Array): number;
  send(fd: number, data: Uint8Array, length: number, flags: number): number;
  sendto(fd: number, data: Uint8Array, length: number, flags: number, address: Uint8Array, addressLength: number): number;
  recv(fd: number, buffer: Uint8Array, length: number, flags: number): number;
  poll: { async(fds: Int32Array, count: number, timeout: number, done: (error: unknown, result: number) => void): void };
  close(fd: number): number;
  flock(fd: number, operation: number): number;
  unshare(flags: number): number;
  setns(fd: number, type: number): number;
  ioctl(fd: number, request: number, argument: Uint8Array): number;
  errno(): number;
  madvise(start: number, length: number, advice: number): number;
  /** glibc only. */
  malloc_trim: ((pad: number) => number) | null;
  /** What few processes need is defined when it is. */
  aio(): AioCalls;
}

interface AioCalls {
  setup(call: number, slots: number, context: BigUint64Array): number;
  destroy(call: number, context: bigint): number;
  submit(call: number, context: bigint, count: number, controls: BigUint64Array): number;
  getevents(call: number, context: bigint, least: number, most: number, events: Int32Array, timeout: BigInt64Array): number;
  address(view: Uint32Array): bigint;
}

let loaded: Calls | undefined;
let aio: AioCalls | undefined;

function libc(): Calls {
  if (loaded !== undefined) return loaded;
  // The codec reads and writes whole words in host order where the wire is host order, and swaps where it is big-endian.
  if (endianness() !== 'LE') {
    throw new KernelError({ code: 'SYSTEM_CALL', operation: 'load', object: 'libc', message: 'this program needs a little-endian machine' });
  }
  let koffi: typeof import('koffi');
  try {
    koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi');
  } catch (cause) {
    const message = `no prebuilt binary for ${process.platform} ${process.arch}?`;
    throw new KernelError({ code: 'SYSTEM_CALL', operation: 'load', object: 'koffi', message, cause });
  }
  // null is the process itself, so glibc and musl need no different name. koffi has no ssize_t; long is it on 64-bit Linux.
  const library = koffi.load(null);
  const define = (prototype: string): never => library.func(prototype) as never;
  loaded = {
    socket: define('int socket(int domain, int type, int protocol)'),
    bind: define('int bind(int fd, const void *address, uint32_t length)'),
    connect: define('int connect(int fd, const void *address, uint32_t length)'),
    epoll_create1: define('int epoll_create1(int flags)'),
    epoll_ctl: define('int epoll_ctl(int epoll, int operation, int fd, void *event)'),
    epoll_wait: define('int epoll_wait(int epoll, void *events, int count, int timeout)'),
    setsockopt: define('int setsockopt(int fd, int level, int option, const void *value, uint32_t length)'),
    getsockopt: define('int getsockopt(int fd, int level, int option, void *value, void *length)'),
    send: define('long send(int fd, const void *data, size_t length, int flags)'),
    sendto: define('long sendto(int fd, const void *data, size_t length, int flags, const void *address, uint32_t addressLength)'),
    recv: define('long recv(int fd, void *buffer, size_t length, int flags)'),
    poll: define('int poll(void *fds, ulong count, int timeout)'),
    close: define('int close(int fd)'),
    flock: define('int flock(int fd, int operation)'),
    unshare: define('int unshare(int flags)'),
    setns: define('int setns(int fd, int type)'),
    ioctl: define('int ioctl(int fd, ulong request, void *argument)'),
    madvise: define('int madvise(uintptr_t start, size_t length, int advice)'),
    errno: () => koffi.errno(),
    malloc_trim: optional(() => define('int malloc_trim(size_t pad)')),
    aio: () => aio ??= {
      setup: define('long syscall(long call, long slots, void *context)'),
      destroy: define('long syscall(long call, uint64_t context)'),
      submit: define('long syscall(long call, uint64_t context, long count, void *controls)'),
      getevents: define('long syscall(long call, uint64_t context, long least, long most, void *events, void *timeout)'),
      address: (view) => koffi.address(view) as bigint,
    },
  };
  return loaded;
}

/** What not every C library has. */
function optional<T>(find: () => T): T | null {
  try {
    return find();
  } catch {
    return null; // koffi knows no other way to ask
  }
}

function failed(call: string, object: string, errno: number): KernelError {
  const permission = errno === ERRNO.EPERM || errno === ERRNO.EACCES;
  return new KernelError({ code: permission ? 'PERMISSION_DENIED' : 'SYSTEM_CALL', errno, operation: call, object });
}

function check(result: number, call: string, object: string): number {
  if (result < 0) throw failed(call, object, libc().errno());
  return result;
}

/** Opens a socket, close-on-exec. Throws KernelError SYSTEM_CALL or PERMISSION_DENIED (so does every function below). */
export function socket(domain: number, type: number, protocol: number): number {
  return check(libc().socket(domain, type | SOCK.CLOEXEC, protocol), 'socket', `family ${domain} type ${type} protocol ${protocol}`);
}

/** Binds to a whole struct sockaddr_*, given as bytes. */
export function bind(fd: number, address: Uint8Array): void {
  check(libc().bind(fd, address, address.length), 'bind', `fd ${fd}`);
}

/** Connects to a whole struct sockaddr_*, given as bytes. Returns 0 or a negative errno: what becomes of a connection is no exception. */
export function connect(fd: number, address: Uint8Array): number {
  return libc().connect(fd, address, address.length) < 0 ? -libc().errno() : 0;
}

/** Sets an option to an int, or to the bytes of a struct. */
export function setsockopt(fd: number, level: number, option: number, value: number | Uint8Array): void {
  const bytes = typeof value === 'number' ? new Uint8Array(Int32Array.of(value).buffer) : value;
  check(libc().setsockopt(fd, level, option, bytes, bytes.length), 'setsockopt', `level ${level} option ${option}`);
}

const OPTION_LENGTH = new Int32Array(1);

/**
 * Reads an option into the first `length` bytes of `buffer`. Returns the length that the kernel reports, or a negative errno:
 * IPVS answers ESRCH for a service that is gone, which is no exception.
 */
export function getsockopt(fd: number, level: number, option: number, buffer: Uint8Array, length = buffer.length): number {
  if (length > buffer.length) throw new RangeError('getsockopt: length exceeds the buffer');
  OPTION_LENGTH[0] = length;
  const result = libc().getsockopt(fd, level, option, buffer, OPTION_LENGTH);
  return result < 0 ? -libc().errno() : OPTION_LENGTH[0]!;
}

/** Sends the first `length` bytes. Netlink sends all or nothing. */
export function send(fd: number, data: Uint8Array, length = data.length, flags = 0): number {
  if (length > data.length) throw new RangeError('send: length exceeds the buffer');
  return check(libc().send(fd, data, length, flags), 'send', `${length} bytes`);
}

/** Sends on a connected socket without blocking, and without a signal when the peer is gone. Returns the bytes sent, or a negative errno. */
export function trySend(fd: number, data: Uint8Array): number {
  const result = libc().send(fd, data, data.length, MSG.DONTWAIT | MSG.NOSIGNAL);
  return result < 0 ? -libc().errno() : result;
}

/** Receives without blocking. Returns the bytes received (0: the peer closed), or a negative errno. */
export function tryReceive(fd: number, buffer: Uint8Array): number {
  const result = libc().recv(fd, buffer, buffer.length, MSG.DONTWAIT);
  return result < 0 ? -libc().errno() : result;
}

/** Sends a datagram to a whole struct sockaddr_*, given as bytes. */
export function sendto(fd: number, data: Uint8Array, address: Uint8Array, flags = 0): number {
  return check(libc().sendto(fd, data, data.length, flags, address, address.length), 'sendto', `${data.length} bytes`);
}

/**
 * Receives into `buffer`. Returns the number of bytes (with MSG.TRUNC: of the datagram, which may exceed the buffer), or
 * -EAGAIN (nothing there), -ENOBUFS (the kernel dropped something), -EINTR, -ENETDOWN. Any other errno throws.
 */
export function recv(fd: number, buffer: Uint8Array, flags = 0): number {
  const result = libc().recv(fd, buffer, buffer.length, flags);
  if (result >= 0) return result;
  const errno = libc().errno();
  if (errno === ERRNO.EAGAIN || errno === ERRNO.ENOBUFS || errno === ERRNO.EINTR || errno === ERRNO.ENETDOWN) return -errno;
  throw failed('recv', `fd ${fd}`, errno);
}

/**
 * Resolves true when `fd` has something to read (or an error to report), false after `timeoutMs`. Takes a thread of libuv's
 * pool meanwhile, and the process cannot exit before it returns: keep the timeout below a second.
 */
export function waitReadable(fd: number, timeoutMs: number): Promise<boolean> {
  // struct pollfd { int fd; short events; short revents; }
  const fds = Int32Array.of(fd, POLLIN);
  return new Promise((resolve, reject) => {
    libc().poll.async(fds, 1, timeoutMs, (error, result) => {
      // poll's errno belongs to the pool thread; EINTR and ENOMEM are its only errors here, and both mean "look again".
      if (error) reject(error instanceof Error ? error : new Error(String(error)));
      else resolve(result !== 0);
    });
  });
}

/** Closes a descriptor that one of these functions opened. */
export function close(fd: number): void {
  check(libc().close(fd), 'close', `fd ${fd}`);
}

/** struct epoll_event { uint32_t events; uint64_t data; }: without a hole between the two on x86-64 only. */
const EVENT = process.arch === 'x64' ? { bytes: 12, data: 4 } : { bytes: 16, data: 8 };
const oneEvent = new Uint8Array(EVENT.bytes);
const oneEventView = new DataView(oneEvent.buffer);

/** A set of descriptors to wait for. Close it with close(). */
export function epollCreate(): number {
  return check(libc().epoll_create1(EPOLL_CLOEXEC), 'epoll_create1', '');
}

/** Adds `fd`; its events bear its number. It leaves the set when it is closed. */
export function epollAdd(epoll: number, fd: number, events: number): void {
  oneEventView.setUint32(0, events, true);
  oneEventView.setUint32(EVENT.data, fd, true);
  check(libc().epoll_ctl(epoll, EPOLL_CTL.ADD, fd, oneEvent), 'epoll_ctl add', `fd ${fd}`);
}

export function epollDelete(epoll: number, fd: number): void {
  check(libc().epoll_ctl(epoll, EPOLL_CTL.DEL, fd, oneEvent), 'epoll_ctl delete', `fd ${fd}`);
}

/** Events of one epollTake(). */
export interface Events {
  readonly bytes: Uint8Array;
  readonly view: DataView;
}

export function eventsFor(count: number): Events {
  const bytes = new Uint8Array(count * EVENT.bytes);
  return { bytes, view: new DataView(bytes.buffer) };
}

/** Takes what has happened, without waiting. Returns how many events there are; fewer than there is room for: that was all. */
export function epollTake(epoll: number, { bytes }: Events): number {
  const result = libc().epoll_wait(epoll, bytes, bytes.length / EVENT.bytes, 0);
  if (result >= 0) return result;
  const errno = libc().errno();
  if (errno === ERRNO.EINTR) return 0;
  throw failed('epoll_wait', `fd ${epoll}`, errno);
}

/** The descriptor and the events of entry `i`. */
export function eventAt({ view }: Events, i: number): { fd: number; events: number } {
  return { fd: view.getUint32(i * EVENT.bytes + EVENT.data, true), events: view.getUint32(i * EVENT.bytes, true) };
}

/** Takes or releases an advisory lock. Returns false when LOCK.NB was given and another process holds it. */
export function flock(fd: number, operation: number): boolean {
  if (libc().flock(fd, operation) === 0) return true;
  const errno = libc().errno();
  if (errno === ERRNO.EAGAIN) return false;
  throw failed('flock', `fd ${fd}`, errno);
}

/** Moves the calling thread (Node's main one) into new namespaces. Only CLONE_NEWNET is allowed in a process with threads. */
export function unshare(flags: number): void {
  check(libc().unshare(flags), 'unshare', `flags 0x${flags.toString(16)}`);
}

/** Moves the calling thread into the namespace behind `fd`. Do synchronous work only, and return in `finally`. */
export function setns(fd: number, type: number): void {
  check(libc().setns(fd, type), 'setns', `fd ${fd}`);
}

/** ioctl with a struct as argument, read and written in place. */
export function ioctl(fd: number, request: number, argument: Uint8Array): void {
  check(libc().ioctl(fd, request, argument), 'ioctl', `request 0x${request.toString(16)}`);
}

/** Bytes of struct iocb and struct io_event of linux/aio_abi.h, and the operations that are used. */
export const AIO_CONTROL = 64;
export const AIO_EVENT = 32;
export const IOCB_CMD = { PREAD: 0, PWRITE: 1 } as const;

/** A place for `slots` reads and writes that are asked for by one system call. Null where the kernel has none, or no more of them. */
export function aioSetup(slots: number): bigint | null {
  const context = new BigUint64Array(1);
  return libc().aio().setup(AIO.setup, slots, context) < 0 ? null : context[0]!;
}

export function aioDestroy(context: bigint): void {
  check(libc().aio().destroy(AIO.destroy, context), 'io_destroy', '');
}

/**
 * Submits the first `count` of `controls`, addresses of struct iocb; they and what they point to must stay where they are until their events came.
 * Returns how many, or a negative errno.
 */
export function aioSubmit(context: bigint, controls: BigUint64Array, count: number): number {
  if (count > controls.length) throw new RangeError('aioSubmit: more than there are');
  const result = libc().aio().submit(AIO.submit, context, count, controls);
  return result < 0 ? -libc().errno() : result;
}

/** Takes `count` events into `events`, waiting for them `seconds` at most. Returns how many came, or a negative errno. */
export function aioEvents(context: bigint, events: Int32Array, count: number, seconds: number): number {
  if (count * AIO_EVENT > events.byteLength) throw new RangeError('aioEvents: more than there is room for');
  const result = libc().aio().getevents(AIO.getevents, context, count, count, events, BigInt64Array.of(BigInt(seconds), 0n));
  return result < 0 ? -libc().errno() : result;
}

/** Where the words lie: for struct iocb, which points to its buffer. An array of more than a few words never moves. */
export function addressOf(view: Uint32Array): bigint {
  return libc().aio().address(view);
}

/** Returns free memory of the C heap to the system, where the C library can (musl has nothing to return). */
export function trimHeap(): void {
  libc().malloc_trim?.(0);
}

/** asm-generic/mman-common.h */
const MADV_DONTNEED = 4;

/**
 * Lets go of the memory between two addresses. What is mapped there from a file and was never written to is read from it again when it is
 * needed; anything else would be lost, and the process with it: see agent/resident.ts.
 */
export function letGo(start: number, end: number): void {
  check(libc().madvise(start, end - start, MADV_DONTNEED), 'madvise', `0x${start.toString(16)}`);
}
