// Boots one lab guest, runs a shell command in it, and hands back output and exit code. Two backends, one contract:
// User-Mode Linux (fast, for everything) and QEMU with Debian's own kernel (for what the first lacks, nftables above all).
// It knows nothing of topologies or scenarios; those run inside the guest (see labd.ts).
//
// The guest sees the host's file system read-only under a throw-away overlay, with the same paths. Only `workDirectory`
// is shared for writing. The memory of User-Mode Linux is a file in /dev/shm.

import { execFileSync, spawn, type ChildProcess, type StdioOptions } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { setPriority } from 'node:os';
import { join, resolve } from 'node:path';

export const repositoryRoot = resolve(import.meta.dirname, '../..');

export type Backend = 'uml' | 'qemu';

export interface GuestOptions {
  /** Default `uml`. */
  readonly backend?: Backend;
  /** Shell script that runs in the guest at the repository root, with the repository's Node first in PATH. */
  readonly command: string;
  /** Folder on the host that guest and host share, for results and logs. Several guests may share one. */
  readonly workDirectory: string;
  /** Names the guest's own folder in the work directory. */
  readonly name: string;
  /** More words on the command line of a `uml` guest's kernel: a NIC, as `vec0:transport=tap,ifname=NAME`. */
  readonly kernelArguments?: readonly string[];
  /** CPU to pin a `uml` guest to; pinned ones are 3 to 7 times faster than free ones. */
  readonly cpu: number;
  /** Others on its CPU get twice as much of it. Default false. */
  readonly yields?: boolean;
  readonly memoryMegabytes?: number;
  /** The guest is killed after this time. */
  readonly timeoutMs: number;
  readonly environment?: Readonly<Record<string, string>>;
  readonly onOutput?: (chunk: Buffer) => void;
  readonly onError?: (chunk: Buffer) => void;
  /** Called with the guest's process group on the host. */
  readonly onStart?: (group: number) => void;
  /** Give the guest this process's terminal instead of pipes. */
  readonly interactive?: boolean;
  readonly signal?: AbortSignal;
}

export interface GuestResult {
  /** Exit code of the command; null when the guest died before it ended. */
  readonly code: number | null;
  readonly timedOut: boolean;
  readonly milliseconds: number;
  /** The guest kernel's own console, worth printing when `code` is null. */
  readonly console: string;
}

/** Boots a guest and resolves when it is gone. Rejects only when it cannot be started at all. */
export async function runInGuest(options: GuestOptions): Promise<GuestResult> {
  options.signal?.throwIfAborted();
  const started = performance.now();
  writeEntry(options);
  const guest = options.backend === 'qemu' ? startQemu(options) : startUserModeLinux(options);
  if (guest.pid !== undefined) {
    if (options.yields) giveWay(guest.pid);
    options.onStart?.(guest.pid);
  }
  let console = '';
  guest.stdio[1]?.on('data', (chunk: Buffer) => { console = (console + chunk.toString()).slice(-20_000); });
  guest.stdio[2]?.on('data', (chunk: Buffer) => { console = (console + chunk.toString()).slice(-20_000); });
  guest.stdio[3]?.on('data', (chunk: Buffer) => options.onOutput?.(chunk));
  guest.stdio[4]?.on('data', (chunk: Buffer) => options.onError?.(chunk));
  // Reading ends of pipes report ECONNRESET when the guest is killed; its close event tells the same.
  for (const stream of guest.stdio) stream?.on('error', () => {});

  let timedOut = false;
  const kill = (): void => { if (guest.pid !== undefined) killGroup(guest.pid); };
  const timer = setTimeout(() => { timedOut = true; kill(); }, options.timeoutMs);
  // A kernel that died leaves the processes of its guest behind, which keep the pipes open: there would be no close event.
  guest.once('exit', kill);
  options.signal?.addEventListener('abort', kill);
  const watchdog = startWatchdog(guest.pid);
  try {
    await new Promise<void>((done, failed) => {
      guest.once('error', failed);
      guest.once('close', () => done());
    });
  } finally {
    clearTimeout(timer);
    options.signal?.removeEventListener('abort', kill);
    kill();
    watchdog.kill('SIGKILL');
  }
  const exitFile = join(options.workDirectory, options.name, 'exit');
  const code = existsSync(exitFile) ? Number(readFileSync(exitFile, 'utf8').trim()) : null;
  return { code, timedOut, milliseconds: Math.round(performance.now() - started), console: worthReading(console) };
}

/** Weight 526 against 1024. Outside of containers Linux weighs sessions, not processes (sched(7), autogroup). */
function giveWay(pid: number): void {
  try {
    setPriority(pid, 3);
    writeFileSync(`/proc/${pid}/autogroup`, '3');
  } catch {
    // A guest that ended at once, or a kernel that weighs no sessions: politeness is no reason to fail.
  }
}

/** The last lines of a console without what every healthy boot prints too. */
function worthReading(console: string): string {
  const usual = /^(SELinux: |mmapper_init|Failed to initialize ubd|kmsg_dump:|sysrq: Power Off|reboot: Power down|\s*$)/;
  const lines = console.split('\n').map((line) => line.trimEnd()).filter((line) => !usual.test(line));
  // With `quiet` the kernel's messages below warning come only in the dump that follows a panic.
  const printed = lines.filter((line) => !/^<[4-7]>/.test(line));
  return (printed.length > 0 ? printed : lines).slice(0, 25).join('\n');
}

function writeEntry(options: GuestOptions): void {
  const own = join(options.workDirectory, options.name);
  rmSync(own, { recursive: true, force: true });
  mkdirSync(own, { recursive: true });
  if (options.interactive) writeFileSync(join(own, 'interactive'), '');
  const exports = Object.entries({ LANG: 'C.UTF-8', ...(options.interactive ? {} : { NO_COLOR: '1' }), ...options.environment })
    .map(([name, value]) => `export ${name}=${shellQuote(value)}\n`).join('');
  writeFileSync(join(own, 'entry.sh'),
    `export PATH=${repositoryRoot}/node_modules/.bin:$PATH\n${exports}cd ${repositoryRoot}\n${options.command}\n`);
}

/** Quotes a value for sh. */
export function shellQuote(value: string): string {
  return `'${value.replaceAll("'", `'\\''`)}'`;
}

function startUserModeLinux(options: GuestOptions): ChildProcess {
  const xstate = join(repositoryRoot, '.lab/uml-xstate.so'); // only on hosts that need it, see tools/bootstrap.sh
  return spawn('taskset', [
    '-c', String(options.cpu), 'linux.uml', `mem=${options.memoryMegabytes ?? 2048}M`,
    // Where it keeps its control socket; the default is ~/.uml, which is left behind and needs a home.
    `uml_dir=${join(options.workDirectory, options.name)}/`,
    'root=/dev/root', 'rootfstype=hostfs', 'rootflags=/', 'ro', 'quiet', 'panic=-1',
    'con=null', ...(options.kernelArguments ?? []),
    // 0: the kernel's console; 1 and 2: the command's output and errors, or the terminal.
    ...(options.interactive ? ['con0=null,fd:2', 'con1=fd:0,fd:1'] : ['con0=null,fd:1', 'con1=null,fd:3', 'con2=null,fd:4']),
    'init=/bin/sh', `lab.work=${options.workDirectory}`, `lab.name=${options.name}`, '--', join(import.meta.dirname, 'guest/init.sh'),
  ], {
    stdio: stdio(options),
    detached: !options.interactive,
    env: { ...process.env, ...(existsSync(xstate) ? { LD_PRELOAD: xstate } : {}) },
  });
}

function stdio(options: GuestOptions): StdioOptions {
  return options.interactive ? ['inherit', 'inherit', 'pipe', 'pipe', 'pipe'] : ['ignore', 'pipe', 'pipe', 'pipe', 'pipe'];
}

/** Debian's kernel, unpacked by tools/bootstrap.sh, without KVM: it has to run inside virtual machines too. */
function startQemu(options: GuestOptions): ChildProcess {
  // `npm run lab` gets only what User-Mode Linux needs; this is for whoever asks for the other kernel.
  if (!existsSync(join(repositoryRoot, '.lab/kernel/name'))) execFileSync('sh', ['tools/bootstrap.sh', 'qemu'], { cwd: repositoryRoot, stdio: ['ignore', 'inherit', 'inherit'] });
  const kernel = realpathSync(join(repositoryRoot, '.lab/kernel'));
  const release = readFileSync(join(kernel, 'name'), 'utf8').trim();
  const initrd = join(repositoryRoot, '.lab', `qemu-${release}.gz`);
  execFileSync('sh', [join(import.meta.dirname, 'guest/make-initrd.sh'), join(kernel, 'lib/modules', release), initrd]);
  // Serial ports as in User-Mode Linux's consoles: 0 the kernel's, 1 output or the terminal, 2 errors.
  const ports = options.interactive
    ? ['-serial', 'null', '-chardev', 'stdio,id=terminal,signal=off', '-serial', 'chardev:terminal', '-serial', 'null']
    : ['-serial', 'stdio',
      ...[3, 4].flatMap((fd) => ['-chardev', `socket,id=port${fd},fd=${fd}`, '-serial', `chardev:port${fd}`])]; // Node's pipes are sockets.
  const share = (id: string, path: string, more: string): string => `local,path=${path},mount_tag=${id},security_model=none,multidevs=remap${more}`;
  return spawn('qemu-system-x86_64', [
    '-accel', 'tcg,thread=multi,tb-size=256', '-cpu', 'max', '-smp', '2', '-m', String(options.memoryMegabytes ?? 1500),
    '-nodefaults', '-no-reboot', '-display', 'none', ...ports,
    '-kernel', join(kernel, 'boot', `vmlinuz-${release}`), '-initrd', initrd,
    '-virtfs', share('host', '/', ',readonly=on'), '-virtfs', share('work', options.workDirectory, ''),
    '-append', `console=ttyS0 quiet loglevel=1 panic=-1 rdinit=/init lab.work=${options.workDirectory} lab.name=${options.name} `
      + `lab.modules=${join(kernel, 'lib/modules')} lab.init=${join(import.meta.dirname, 'guest/init.sh')}`,
  ], { stdio: stdio(options), detached: !options.interactive });
}

/** Kills a guest: its process group, and those of its helpers that made groups of their own. */
function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch (error) {
    // ESRCH: the group is gone already, which is what was wanted.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** A shell that kills the guest when this process dies without a word (SIGKILL): its stdin then ends. */
function startWatchdog(guest: number | undefined): ChildProcess {
  return spawn('sh', ['-c', `read -r _; kill -s KILL -- -${guest}`], { stdio: ['pipe', 'ignore', 'ignore'], detached: true });
}
