/**
 * Reads a value by its shape: types, bounds, defaults, unknown fields, with messages for people. A shape is what the zod schemas
 * generate (shapes.generated.ts): zod is the source, and stays out of processes that run for months and need neither its 20 MB nor its
 * words. A test holds both to the same verdicts. Rules that look at more than one field are not here.
 */
import type { Problem } from './v1alpha1/problems.ts';
import { formatPath, nearest, quote } from './v1alpha1/problems.ts';

/** A structural schema (the words of JSON Schema, as in a CRD). Without type: accepted and dropped, unless it is a number or a text. */
export interface Shape {
  readonly type?: 'object' | 'array' | 'string' | 'integer' | 'boolean' | 'number';
  readonly default?: unknown;
  readonly enum?: readonly unknown[];
  readonly pattern?: string;
  readonly minimum?: number; readonly maximum?: number;
  readonly minLength?: number; readonly maxLength?: number;
  readonly minItems?: number; readonly maxItems?: number;
  readonly maxProperties?: number;
  readonly properties?: Readonly<Record<string, Shape>>;
  readonly required?: readonly string[];
  readonly items?: Shape;
  readonly additionalProperties?: Shape;
  readonly 'x-kubernetes-int-or-string'?: true;
}

/** Fields that no shape has: somebody's typing error, or, in what a machine of another version wrote, news that are not for us. */
export type UnknownFields = 'refuse' | 'strip';

/**
 * Reads `value`. The result shares nothing with it but texts, has every default, and lacks what the shape drops. When `problems` is not
 * empty the result means nothing.
 */
export function readShape(shape: Shape, value: unknown, unknownFields: UnknownFields = 'refuse'): { value: unknown; problems: readonly Problem[] } {
  const reader = new ShapeReader(unknownFields);
  const result = reader.read(shape, value);
  return { value: result, problems: reader.problems };
}

/** Compiled once each; there are a few. */
const PATTERNS = new Map<string, RegExp>();

class ShapeReader {
  readonly problems: Problem[] = [];
  /** Where the reader is; formatted only for a problem. */
  readonly #path: (string | number)[] = [];
  readonly #strict: boolean;

  constructor(unknownFields: UnknownFields) {
    this.#strict = unknownFields === 'refuse';
  }

  read(shape: Shape, value: unknown): unknown {
    switch (shape.type) {
      case undefined: return shape['x-kubernetes-int-or-string'] ? this.#numberOrText(shape, value) : undefined;
      case 'object': return this.#object(shape, value);
      case 'array': return this.#list(shape, value);
      case 'string': return shape.enum === undefined ? this.#text(shape, value) : this.#word(shape, value);
      case 'boolean': return typeof value !== 'boolean' ? this.#wrongType(shape, value) : shape.enum === undefined ? value : this.#word(shape, value);
      default: return this.#number(shape, value);
    }
  }

  #object(shape: Shape, value: unknown): unknown {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return this.#wrongType(shape, value);
    if (shape.properties === undefined) return this.#map(shape, value as Record<string, unknown>);
    const properties = shape.properties;
    if (this.#strict) for (const key of Object.keys(value)) if (!Object.hasOwn(properties, key)) this.#unknownField(key, shape);
    const out: Record<string, unknown> = {};
    for (const name in properties) {
      const child = properties[name]!;
      let field = Object.hasOwn(value, name) ? (value as Record<string, unknown>)[name] : undefined;
      if (field === undefined) {
        if (child.default === undefined) {
          if (shape.required?.includes(name)) this.#missing(name, child);
          continue;
        }
        field = child.default;
      }
      this.#path.push(name);
      const read = this.read(child, field);
      this.#path.pop();
      if (read !== undefined) out[name] = read;
    }
    return out;
  }

  #map(shape: Shape, value: Record<string, unknown>): unknown {
    const entries = Object.entries(value);
    if (shape.maxProperties !== undefined && entries.length > shape.maxProperties) {
      this.#say('OutOfRange', `${entries.length} entries; at most ${shape.maxProperties} are allowed`, 'remove some');
    }
    return Object.fromEntries(entries.map(([key, item]) => {
      this.#path.push(key);
      const read = this.read(shape.additionalProperties!, item);
      this.#path.pop();
      return [key, read];
    }));
  }

  #list(shape: Shape, value: unknown): unknown {
    if (!Array.isArray(value)) return this.#wrongType(shape, value);
    const { minItems = 0, maxItems = Infinity } = shape;
    if (value.length < minItems) this.#say('OutOfRange', `${value.length} entries; at least ${minItems} are needed`, 'add some');
    if (value.length > maxItems) {
      this.#say('OutOfRange', `${value.length} entries; at most ${maxItems} are allowed`, 'split the object');
      return undefined;
    }
    const out: unknown[] = new Array(value.length);
    for (let i = 0; i < value.length; i++) {
      this.#path.push(i);
      out[i] = this.read(shape.items!, value[i]);
      this.#path.pop();
    }
    return out;
  }

  #text(shape: Shape, value: unknown): unknown {
    if (typeof value !== 'string') return this.#wrongType(shape, value);
    const { minLength = 0, maxLength = Infinity, pattern } = shape;
    if (value.length < minLength || value.length > maxLength) {
      const fix = value.length < minLength ? `write at least ${minLength}` : `write at most ${maxLength}`;
      this.#say('OutOfRange', `${quote(value)} has ${value.length} characters`, fix);
    } else if (pattern !== undefined && !regex(pattern).test(value)) {
      if (pattern.startsWith('^\\d{4}-')) this.#say('WrongType', `${quote(value)} is not a time`, 'write it as 2026-01-01T00:00:00Z');
      else this.#say('InvalidName', `${quote(value)} is not a valid name here`, nameFix(pattern));
    }
    return value;
  }

  #word(shape: Shape, value: unknown): unknown {
    if (shape.enum!.includes(value)) return value;
    const words = shape.enum as readonly string[];
    const near = typeof value === 'string' ? nearest(value, words) : null;
    this.#say('UnknownValue', `${quote(value)} is not ${oneOf(words)}`, near === null ? `write ${oneOf(words)}` : `did you mean ${near}?`);
    return undefined;
  }

  #number(shape: Shape, value: unknown): unknown {
    if (typeof value !== 'number') return this.#wrongType(shape, value);
    if (!Number.isSafeInteger(value) && (shape.type === 'integer' || !Number.isFinite(value))) {
      this.#say('WrongType', `${value} is not a whole number`, 'write a whole number');
    } else if (value < (shape.minimum ?? -Infinity)) {
      this.#say('OutOfRange', `${value} is below ${shape.minimum}`, `write a number of at least ${shape.minimum}`);
    } else if (value > (shape.maximum ?? Infinity)) {
      this.#say('OutOfRange', `${value} is above ${shape.maximum}`, `write a number of at most ${shape.maximum}`);
    }
    return value;
  }

  #numberOrText(shape: Shape, value: unknown): unknown {
    if (typeof value === 'number') return this.#number({ ...shape, type: 'integer' }, value);
    return typeof value === 'string' ? this.#text(shape, value) : this.#wrongType(shape, value);
  }

  #missing(name: string, child: Shape): void {
    this.#path.push(name);
    this.#say('MissingField', `${name} is required`, `add it: ${child.enum === undefined ? typeName(child) : oneOf(child.enum as readonly string[])}`);
    this.#path.pop();
  }

  #wrongType(shape: Shape, value: unknown): undefined {
    this.#say('WrongType', `${quote(value)} is not ${typeName(shape)}`, typeFix(shape, value));
    return undefined;
  }

  #unknownField(key: string, shape: Shape): void {
    this.#path.push(key);
    const toCome = FIELDS_TO_COME[key];
    const known = Object.keys(shape.properties!).filter((name) => isRead(shape.properties![name]!));
    const near = nearest(key, known);
    if (toCome !== undefined && Object.hasOwn(FIELDS_TO_COME, key)) this.#say('UnknownField', `this version has no ${toCome} yet`, `remove ${key}`);
    else if (key === 'namespace') this.#say('UnknownField', 'this kind belongs to no namespace', 'remove namespace');
    else this.#say('UnknownField', `there is no field ${quote(key)}`, near === null ? `remove it; known here: ${known.join(', ')}` : `did you mean ${near}?`);
    this.#path.pop();
  }

  #say(code: Problem['code'], message: string, fix: string): void {
    this.problems.push({ code, path: formatPath(this.#path), message, fix });
  }
}

/** Fields of the design that this version does not have: named, so that nobody searches for a typing error. */
const FIELDS_TO_COME: Readonly<Record<string, string>> = {
  allowedSourceRanges: 'source ranges',
  failback: 'failing back', restartHoldSeconds: 'hold after a restart', preferredNodes: 'preferred nodes',
};

const TYPE_NAMES: Readonly<Record<NonNullable<Shape['type']>, string>> = {
  string: 'a text', number: 'a number', integer: 'a whole number', boolean: 'true or false', object: 'a mapping', array: 'a list',
};
/** Whether values of this shape are kept. */
function isRead(shape: Shape): boolean {
  return shape.type !== undefined || shape['x-kubernetes-int-or-string'] === true;
}

function typeName(shape: Shape): string {
  if (shape.type !== undefined) return TYPE_NAMES[shape.type];
  return shape['x-kubernetes-int-or-string'] ? 'a whole number or a text' : 'anything';
}

function typeFix(shape: Shape, found: unknown): string {
  if (found === null) return `give it a value (${typeName(shape)}), or remove the field`;
  if (shape.type === 'string' && typeof found !== 'object') return `write it in quotes: "${String(found)}"`;
  if ((shape.type === 'number' || shape.type === 'integer') && typeof found === 'string' && found.trim() !== '' && Number.isFinite(Number(found))) {
    return `write it without quotes: ${Number(found)}`;
  }
  if (shape.type === 'boolean' && typeof found === 'string') return 'write true or false, without quotes';
  if (shape.type === 'array') return "write a list: each entry on its own line, after '- '";
  return `write ${typeName(shape)}`;
}

function oneOf(words: readonly string[]): string {
  return words.length === 1 ? words[0]! : `one of ${words.join(', ')}`;
}

function nameFix(pattern: string): string {
  return pattern.includes('\\s')
    ? "write the name of an interface, as eth0: no spaces, no '/' or ':'"
    : "use lower case letters, digits and '-', with a letter or digit first and last";
}

function regex(pattern: string): RegExp {
  let compiled = PATTERNS.get(pattern);
  if (compiled === undefined) PATTERNS.set(pattern, compiled = new RegExp(pattern));
  return compiled;
}
