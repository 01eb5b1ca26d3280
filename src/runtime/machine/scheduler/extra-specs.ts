/**
 * A flavor's extra specs against a machine's capabilities, with nova's operators: pure. A key is a capability (`cpu_arch`, `rack`), also as
 * `capabilities:cpu_arch`; keys of another scope (`baremetal:deploy_kernel_id`) are not for the scheduler. A requirement is a word, or an
 * operator and words:
 *
 *   numbers  =  (at least, nova's oldest and oddest)   ==  !=  >=  <=
 *   text     s==  s!=  s>=  s>  s<=  s<                     no operator: equal
 *   sets     <in> part   <all-in> every word   <or> one <or> other
 */
import type { NodeRecord } from '../node-record.ts';

type Test = (value: string, words: readonly string[]) => boolean;

const number =
  (compare: (value: number, wanted: number) => boolean): Test =>
  (value, [word = '']) => {
    const [left, right] = [Number(value), Number(word)];
    return value.trim() !== '' && word !== '' && !Number.isNaN(left) && !Number.isNaN(right) && compare(left, right);
  };
const text =
  (compare: (value: string, wanted: string) => boolean): Test =>
  (value, words) =>
    compare(value, words.join(' '));

const OPERATORS: Readonly<Record<string, Test>> = {
  '=': number((value, wanted) => value >= wanted),
  '==': number((value, wanted) => value === wanted),
  '!=': number((value, wanted) => value !== wanted),
  '>=': number((value, wanted) => value >= wanted),
  '<=': number((value, wanted) => value <= wanted),
  's==': text((value, wanted) => value === wanted),
  's!=': text((value, wanted) => value !== wanted),
  's>=': text((value, wanted) => value >= wanted),
  's>': text((value, wanted) => value > wanted),
  's<=': text((value, wanted) => value <= wanted),
  's<': text((value, wanted) => value < wanted),
  '<in>': text((value, wanted) => wanted !== '' && value.includes(wanted)),
  '<all-in>': (value, words) => words.length > 0 && words.every((word) => value.includes(word)),
};

/** Whether a capability meets a requirement. A capability that the machine does not have meets none, not even `s!=`, as in nova. */
export function meets(value: string | undefined, requirement: string): boolean {
  if (value === undefined) return false;
  const words = requirement.trim().split(/\s+/);
  const [first = '', ...rest] = words;
  if (first === '<or>') {
    return requirement
      .split('<or>')
      .map((choice) => choice.trim())
      .some((choice) => choice !== '' && choice === value);
  }
  const operator = Object.hasOwn(OPERATORS, first) ? OPERATORS[first] : undefined;
  return operator === undefined ? value === requirement : operator(value, rest);
}

/** The first requirement that is not met, as a sentence; undefined when all are. */
export function unmetSpec(specs: Readonly<Record<string, string>>, capabilities: Readonly<Record<string, string>>): string | undefined {
  for (const [key, requirement] of Object.entries(specs)) {
    const [scope, name] = key.includes(':') ? [key.slice(0, key.indexOf(':')), key.slice(key.indexOf(':') + 1)] : ['capabilities', key];
    if (scope !== 'capabilities') continue;
    const value = capabilities[name];
    if (!meets(value, requirement)) return `${name} is ${value === undefined ? 'not known' : `"${value}"`}, wanted "${requirement}"`;
  }
  return undefined;
}

/** What a machine has to offer: its capabilities, its sizes under nova's names, and what the driver adds. */
export function capabilitiesOf(node: NodeRecord): Record<string, string> {
  const { cpus, memoryMb, localGb, cpuArch, capabilities } = node.properties;
  return {
    cpus: String(cpus),
    memory_mb: String(memoryMb),
    local_gb: String(localGb),
    baremetal_driver: node.bmc.driver,
    ...capabilities,
    cpu_arch: cpuArch,
  };
}
