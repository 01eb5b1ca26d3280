/** What the API server says about a write, in words that name the field and the way out. */
import type { StatusCause } from './api-error.ts';
import { type ApiError, isApiError } from './api-error.ts';
import { operatorErrors } from './errors.ts';
import { describeObject, type KubeObject } from './objects.ts';

/** A CodedError where only a change helps; `error` itself where it may pass or is coded already. */
export function applyProblem(error: unknown, desired: KubeObject): unknown {
  if (!isApiError(error)) return error;
  const object = describeObject(desired);
  const options = { cause: error };
  switch (error.kind) {
    case 'not-found': {
      const { namespace } = desired.metadata;
      if (namespace !== undefined && /namespaces? ".*" not found/.test(error.message)) {
        return operatorErrors.OPERATOR_NAMESPACE_MISSING({ object, namespace }, options);
      }
      return operatorErrors.OPERATOR_KIND_NOT_SERVED({ object, apiVersion: desired.apiVersion }, options);
    }
    case 'forbidden': {
      const { namespace } = desired.metadata;
      if (namespace !== undefined && error.causes.some(({ reason }) => reason === 'NamespaceTerminating')) {
        return operatorErrors.OPERATOR_NAMESPACE_MISSING({ object, namespace }, options);
      }
      return operatorErrors.OPERATOR_FORBIDDEN({ what: object, reason: told(desired, error.message) }, options);
    }
    case 'invalid':
      return invalid(error, desired, object);
    case 'server': // how servers before 1.22 say that the object does not fit its schema
      return error.message.startsWith('failed to create typed patch object') ? invalid(error, desired, object) : error;
    default:
      return error;
  }
}

function invalid(error: ApiError, desired: KubeObject, object: string): Error {
  const options = { cause: error };
  const frozen = error.causes.find(isImmutable);
  if (frozen) {
    const { kind } = desired;
    return operatorErrors.OPERATOR_IMMUTABLE_FIELD(
      { object, kind, field: frozen.field ?? '', reason: told(desired, essence(frozen.message)) },
      options,
    );
  }
  const problems = error.causes.map(({ field, message }) => `${field ?? 'the object'}: ${told(desired, essence(message))}`);
  return operatorErrors.OPERATOR_INVALID_OBJECT(
    { object, problems: problems.length > 0 ? problems : [told(desired, essence(error.message))] },
    options,
  );
}

function isImmutable({ message = '' }: StatusCause): boolean {
  return /immutable|may not change once set|cannot be changed|updates to [\w ]+ spec for fields other than/i.test(message);
}

/** The first line without the Go rendering of the whole value: `Invalid value: v1.LabelSelector{…}: field is immutable`. */
function essence(message = ''): string {
  const line = message.split('\n')[0] ?? '';
  const structure = /^Invalid value: .*\}: (.*)$/.exec(line);
  return (structure?.[1] ?? line).trim();
}

/** A Secret's values may stand in what the server says about it. */
function told({ kind }: KubeObject, reason: string): string {
  return kind === 'Secret' && !/^field is immutable/.test(reason) ? 'the reason is withheld, since it may quote the value' : reason;
}
