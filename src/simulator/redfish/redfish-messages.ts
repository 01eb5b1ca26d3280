/** Requests and answers as every resource of a Redfish service has them (DSP0266): JSON bodies, and errors with extended information. */
import type { HttpRequest, HttpResponse } from 'cdk8s-baremetal-runtime/core/index';

export const JSON_TYPE = { 'content-type': 'application/json', 'odata-version': '4.0' };

export function json(body: object, status = 200): HttpResponse {
  return { status, headers: JSON_TYPE, body: JSON.stringify(body) };
}

/** DSP0266, "Error responses". */
export function failure(status: number, id: string, message: string): HttpResponse {
  const error = {
    code: `Base.1.8.${id}`,
    message: 'See @Message.ExtendedInfo for more information.',
    '@Message.ExtendedInfo': [{ '@odata.type': '#Message.v1_1_1.Message', MessageId: `Base.1.8.${id}`, Message: message }],
  };
  return json({ error }, status);
}

/** What is no object is an empty one. */
export function bodyOf({ body }: HttpRequest): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(Buffer.from(body).toString('utf8'));
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}
