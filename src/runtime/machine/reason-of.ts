/** What an error becomes on a machine's record: its sentence, and behind it the code that docs/errors.md and the tables of the other pages go by. */
import { CodedError } from 'cdk8s-baremetal-contract';

/** A reason has 500 characters on the record; step, code and number of tries want theirs. */
const SENTENCE = 400;

/** `http://… cannot be fetched: status 404 [IMAGE_FETCH]`. Errors without a code have their sentence alone. */
export function reasonOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  const code = codeOf(error, text);
  if (code === undefined) return text;
  return `${text.length <= SENTENCE ? text : `${text.slice(0, SENTENCE - 3)}...`} [${code}]`;
}

/** That of the innermost error whose words are in the sentence: "the image x cannot be deployed: …" is about what follows the colon. */
function codeOf(error: unknown, text: string): string | undefined {
  let code: string | undefined;
  for (let at: unknown = error; at instanceof Error && text.includes(at.message); at = at.cause)
    if (at instanceof CodedError) code = at.code;
  return code;
}

/** The code that a reason carries. */
export function codeIn(reason: string): string | undefined {
  return /\[([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)\]/.exec(reason)?.[1];
}
