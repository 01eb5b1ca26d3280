/** What the API refuses, and with which status. */
import { CodedError, defineErrors, entry } from 'cdk8s-baremetal-contract';

export const apiErrors = defineErrors('The API', {
  API_NO_NODE: entry<{ node: string }>({
    message: ({ node }) => `there is no machine ${node}`,
    cure: 'bmctl list shows those that are enrolled; name, UUID, number and MAC address are all understood',
  }),
  API_BAD_MAC: entry<{ mac: string }>({
    message: ({ mac }) => `${JSON.stringify(mac)} is no MAC address`,
    cure: 'Write it as 52:54:00:12:34:56',
  }),
  API_NO_IMAGE: entry<{ image: string }>({
    message: ({ image }) => `there is no image ${image}`,
    cure: 'bmctl image list shows those that are registered; bmctl image add registers a file of [pxe] user_image_dir',
  }),
  API_NO_IMAGE_FILE: entry<{ image: string; path: string }>({
    message: ({ image, path }) => `there is no file for the image ${image}: ${path}`,
    cure: "Put the file into [pxe] user_image_dir under the image's id first",
  }),
  API_IMAGE_SOURCE: entry<{ image: string; reason: string }>({
    message: ({ image, reason }) => `the image ${image} cannot be taken from there: ${reason}`,
    cure: 'Give the format of the unpacked image, and a checksum where the connection proves nothing',
  }),
  API_IMAGE_DIFFERS: entry<{ image: string; found: string; given: string }>({
    message: ({ image, found, given }) => `the file of the image ${image} is ${found}, not ${given}`,
    cure: 'Copy the file again, or correct what was given',
  }),
  API_NO_FLAVOR: entry<{ flavor: string }>({
    message: ({ flavor }) => `there is no flavor ${flavor}`,
    cure: 'bmctl flavor list shows those that there are',
  }),
  API_NO_INSTANCE: entry<{ instance: string }>({
    message: ({ instance }) => `there is no instance ${instance}`,
    cure: 'bmctl instance list shows those that there are, by name and UUID',
  }),
  API_NO_NOTIFICATION: entry<{ id: string }>({
    message: ({ id }) => `there is no notification ${id} among those that were given up`,
    cure: 'GET /v1/notifications lists them',
  }),
  API_TAKEN: entry<{ what: string; id: string }>({
    message: ({ what, id }) => `the ${what} ${id} is there already`,
    cure: 'Choose another id, or remove the other one first',
  }),
  API_USED: entry<{ what: string; id: string; by: string }>({
    message: ({ what, id, by }) => `the ${what} ${id} is used by ${by}`,
    cure: 'Wait until that has ended',
  }),
  API_REFUSED: entry<{ reason: string }>({
    message: ({ reason }) => reason,
    cure: 'Choose another machine, or make this one free',
  }),
  API_NO_CANDIDATE: entry<{ flavor: string; machines: number }>({
    message: ({ flavor, machines }) => `none of ${machines} machines can take the flavor ${flavor}`,
    cure: 'Each machine’s reason is listed; enrol another one, free one, or take a smaller flavor',
  }),
  API_DEPLOYING: entry<{ node: string; state: string }>({
    message: ({ node, state }) => `${node} is ${state}: its interfaces are in use`,
    cure: 'Wait until its deployment has ended',
  }),
  API_PLUGGED: entry<{ node: string; mac: string; vif: string }>({
    message: ({ node, mac, vif }) => `the virtual interface ${vif} is plugged into ${mac} of ${node}: its switch port would stay connected`,
    cure: ({ node }) => `Plug the others without it first (bmctl vif plug ${node} …), or destroy the instance`,
  }),
  API_NETWORK: entry<{ reason: string }>({
    message: ({ reason }) => reason,
    cure: 'Choose a machine that has them, add what it lacks (bmctl interface add), or correct the network',
  }),
  API_CHANGED: entry<{ what: string }>({
    message: ({ what }) => `${what} is not what If-Match says any more`,
    cure: 'Read it again, and decide again',
  }),
  API_CONFIRM: entry<{ verb: string; steps: readonly string[] }>({
    message: ({ verb, steps }) => `${verb} needs a confirmation: ${steps.join('; ')}`,
    cure: 'Confirm with "yes": true, or with the hash that POST /v1/plan gives (bmctl: --yes, or --plan HASH)',
  }),
  API_PLAN_CHANGED: entry<{ verb: string }>({
    message: ({ verb }) => `the plan for ${verb} is not true any more`,
    cure: 'Ask for a new plan and read it',
  }),
  API_INVALID: entry<{ problems: readonly string[] }>({
    message: ({ problems }) => `the request is not valid: ${problems.join('; ')}`,
    cure: 'Correct the named fields; GET /v1/openapi.json has their schemas',
  }),
  API_QUERY: entry<{ problems: readonly string[] }>({
    message: ({ problems }) => `the query is not valid: ${problems.join('; ')}`,
    cure: 'Correct the named parameters; GET /v1/openapi.json has their schemas',
  }),
  API_CURSOR: entry<Record<never, never>>({
    message: () => 'the cursor is none that was given out here',
    cure: 'Begin again without a cursor',
  }),
  API_NOT_JSON: entry<{ why: string }>({
    message: ({ why }) => `the body is not JSON: ${why}`,
    cure: 'Send JSON with content-type: application/json',
  }),
  API_NO_BODY: entry<{ method: string; path: string }>({
    message: ({ method, path }) => `${method} ${path} takes no body`,
    cure: 'Leave the body out',
  }),
  API_TOKEN: entry<{ why: string }>({
    message: ({ why }) => why,
    cure: 'Send "authorization: Bearer TOKEN" (bmctl: --token-file); bmctl token create makes one',
  }),
  API_ROLE: entry<{ name: string; role: string; needed: string }>({
    message: ({ name, role, needed }) => `the token ${name} has the role ${role}; this needs ${needed}`,
    cure: 'Use another token',
  }),
  API_REMOTE: entry<{ why: string }>({
    message: ({ why }) => `without tokens only programs on the same machine may change anything: ${why}`,
    cure: 'Set [api] tokens_file (bmctl token create makes one), or work on the management node through 127.0.0.1',
  }),
  API_TOKENS_FILE: entry<{ path: string; why: string }>({
    message: ({ path, why }) => `nobody can be let in: the tokens file ${path} ${why}`,
    cure: 'Correct the file: one line per token, "name role sha256"; mode 0600 or 0400',
  }),
  API_TOO_OFTEN: entry<{ limit: number }>({
    message: ({ limit }) => `more than ${limit} requests per second`,
    cure: 'Wait as long as retry-after says, or raise [api] rate_limit',
  }),
  API_KEY: entry<Record<never, never>>({
    message: () => 'the Idempotency-Key is not 1 to 255 printable characters',
    cure: 'Use a UUID',
  }),
  API_KEY_REUSED: entry<Record<never, never>>({
    message: () => 'the Idempotency-Key was used for another request',
    cure: 'Use a new key for a new request',
  }),
  API_KEY_RUNNING: entry<Record<never, never>>({
    message: () => 'the first request with this Idempotency-Key is not answered yet',
    cure: 'Try again in a moment with the same key',
  }),
  API_STREAMS: entry<{ limit: number }>({
    message: ({ limit }) => `${limit} event streams are open already`,
    cure: 'Close one',
  }),
  API_NO_ROUTE: entry<{ path: string }>({
    message: ({ path }) => `there is nothing at ${path}`,
    cure: 'docs/api.md has the paths',
  }),
  API_METHOD: entry<{ path: string; method: string; allowed: string }>({
    message: ({ path, method }) => `${path} does not take ${method}`,
    cure: ({ allowed }) => `Use ${allowed}`,
  }),
  API_INTERNAL: entry<{ requestId?: string }>({
    message: () => 'the request failed inside bms-core',
    cure: ({ requestId }) => (requestId === undefined ? 'Look at its log' : `Look for ${requestId} in its log`),
  }),
  API_TLS: entry<{ why: string }>({
    message: ({ why }) => `the API cannot use TLS: ${why}`,
    cure: 'Set both [api] tls_cert and tls_key to PEM files that belong together',
  }),
});

/** The status of errors by their code; of those that are not listed, by their area. */
const STATUS: Readonly<Record<string, number>> = {
  API_INTERNAL: 500,
  API_NO_ROUTE: 404,
  API_METHOD: 405,
  API_NO_NODE: 404,
  API_NO_IMAGE: 404,
  API_NO_IMAGE_FILE: 404,
  API_NO_FLAVOR: 404,
  API_NO_INSTANCE: 404,
  API_NO_NOTIFICATION: 404,
  API_BAD_MAC: 400,
  API_QUERY: 400,
  API_CURSOR: 422,
  API_NOT_JSON: 400,
  API_NO_BODY: 400,
  API_KEY: 400,
  API_INVALID: 422,
  API_IMAGE_SOURCE: 422,
  API_IMAGE_DIFFERS: 422,
  API_KEY_REUSED: 422,
  API_CHANGED: 412,
  API_PLAN_CHANGED: 412,
  API_CONFIRM: 428,
  API_TOKEN: 401,
  API_ROLE: 403,
  API_REMOTE: 403,
  API_TOKENS_FILE: 503,
  API_STREAMS: 503,
  API_TOO_OFTEN: 429,
  MACHINE_NOT_APPROVED: 428,
  MACHINE_PLAN_CHANGED: 412,
  MACHINE_UNKNOWN: 404,
  MACHINE_IMAGE_UNKNOWN: 404,
  MACHINE_INVALID: 422,
  MACHINE_IMAGE: 422,
};
const AREA: readonly (readonly [prefix: string, status: number])[] = [
  ['API_', 409],
  ['MACHINE_', 409],
  ['IMAGE_', 422],
  ['STORE_', 503],
];

export function statusOf(error: CodedError): number {
  return STATUS[error.code] ?? AREA.find(([prefix]) => error.code.startsWith(prefix))?.[1] ?? 500;
}

/** A refusal with more to say than its error: reasons one by one, headers. */
export class Refusal extends Error {
  constructor(
    readonly error: CodedError,
    readonly extra: {
      readonly details?: readonly { readonly what: string; readonly why: string }[];
      readonly headers?: Readonly<Record<string, string>>;
    } = {},
  ) {
    super(error.message);
    this.name = 'Refusal';
  }
}

export function asCoded(error: unknown): CodedError | undefined {
  if (error instanceof Refusal) return error.error;
  return error instanceof CodedError ? error : undefined;
}
