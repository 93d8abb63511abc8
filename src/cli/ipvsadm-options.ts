/**
 * The words of one `ipvsadm` command line as options with values: short and long forms, `-srr`, `-At`, `--opt=value`, optional values.
 * Knows which options exist and which take a value; what they mean together is ipvsadm-parse.ts's.
 */

/** A line that cannot be read: what is wrong and what to do. */
export class LineError extends Error {
  override readonly name = 'LineError';
}

type Takes = 'nothing' | 'value' | 'optional';

interface OptionSpec {
  readonly name: string;
  readonly takes: Takes;
  /** Names a command, of which a line has one. */
  readonly command: boolean;
}

const SPECS = new Map<string, OptionSpec>();
function option(name: string, takes: Takes, forms: string, command = false): void {
  for (const form of forms.split(' ')) SPECS.set(form, { name, takes, command });
}
option('-A', 'nothing', '-A --add-service', true);
option('-a', 'nothing', '-a --add-server', true);
option('-C', 'nothing', '-C --clear', true);
option('-E', 'nothing', '-E --edit-service', true);
option('-e', 'nothing', '-e --edit-server', true);
option('-D', 'nothing', '-D --delete-service', true);
option('-d', 'nothing', '-d --delete-server', true);
option('-Z', 'nothing', '-Z --zero', true);
option('-L', 'nothing', '-L -l --list', true);
option('-S', 'nothing', '-S --save', true);
option('-R', 'nothing', '-R --restore', true);
option('--set', 'nothing', '--set', true);
option('--start-daemon', 'value', '--start-daemon', true);
option('--stop-daemon', 'value', '--stop-daemon', true);
option('-t', 'value', '-t --tcp-service');
option('-u', 'value', '-u --udp-service');
option('--sctp-service', 'value', '--sctp-service');
option('-f', 'value', '-f --fwmark-service');
option('-6', 'nothing', '-6 --ipv6');
option('-s', 'value', '-s --scheduler');
option('-p', 'optional', '-p --persistent');
option('-M', 'value', '-M --netmask');
option('--pe', 'value', '--pe');
option('-o', 'nothing', '-o --ops');
option('-b', 'value', '-b --sched-flags');
option('-r', 'value', '-r --real-server');
option('-g', 'nothing', '-g --gatewaying');
option('-i', 'nothing', '-i --ipip');
option('-m', 'nothing', '-m --masquerading');
option('-w', 'value', '-w --weight');
option('-x', 'value', '-x --u-threshold');
option('-y', 'value', '-y --l-threshold');
option('--tun-type', 'value', '--tun-type');
option('--tun-port', 'value', '--tun-port');
option('--tun-nocsum', 'nothing', '--tun-nocsum');
option('--tun-csum', 'nothing', '--tun-csum');
option('--tun-remcsum', 'nothing', '--tun-remcsum');
option('-n', 'nothing', '-n --numeric');
option('--mcast-interface', 'value', '--mcast-interface');
option('--syncid', 'value', '--syncid');

export interface OptionLine {
  /** Its short form: '-A'. */
  readonly command: string;
  /** By short form where there is one; '' for an option without value. */
  readonly options: ReadonlyMap<string, string>;
  /** Words that are no option. */
  readonly rest: readonly string[];
}

/** Reads the words of a line. Throws LineError. */
export function readOptionLine(words: readonly string[]): OptionLine {
  const options = new Map<string, string>();
  const rest: string[] = [];
  let command = '';
  const queue = [...words];
  for (let word = queue.shift(); word !== undefined; word = queue.shift()) {
    if (!word.startsWith('-') || word === '-') { rest.push(word); continue; }
    const [form, attached] = splitWord(word);
    const spec = SPECS.get(form);
    if (!spec) throw new LineError(`ipvsadm has no option ${form} that could stand here; correct or remove it`);
    if (spec.command) {
      if (command !== '') throw new LineError(`${command} and ${spec.name} are two commands; write a line for each`);
      command = spec.name;
    }
    if (options.has(spec.name)) throw new LineError(`${form} is given twice; remove one`);
    options.set(spec.name, valueOf(spec, form, attached, queue));
  }
  if (command === '') throw new LineError('there is no command; begin the line with -A (a service) or -a (a real server)');
  return { command, options, rest };
}

/** `--opt=value`, `-srr`, `-At`: the option and what is attached to it; null for nothing. */
function splitWord(word: string): [form: string, attached: string | null] {
  if (!word.startsWith('--')) return [word.slice(0, 2), word.length > 2 ? word.slice(2) : null];
  const equals = word.indexOf('=');
  return equals < 0 ? [word, null] : [word.slice(0, equals), word.slice(equals + 1)];
}

function valueOf(spec: OptionSpec, form: string, attached: string | null, queue: string[]): string {
  if (spec.takes === 'nothing') {
    if (attached !== null && form.startsWith('--')) throw new LineError(`${form} takes no value; remove =${attached}`);
    // -At: the next option without its dash.
    if (attached !== null) queue.unshift(`-${attached}`);
    return '';
  }
  if (attached !== null) return attached;
  const next = queue[0];
  if (spec.takes === 'optional') return next === undefined || next.startsWith('-') ? '' : queue.shift()!;
  if (next === undefined) throw new LineError(`${form} has no value; add it`);
  queue.shift();
  return next;
}
