/** What a handler is given and what it answers; all that has to do with HTTP is done around it. */
import type { AnswerOf, BodyOf, OperationId, PathParameters, QueryOf } from 'cdk8s-baremetal-contract/api/index';
import type { HttpRequest, HttpResponse } from '../core/network.ts';
import type { Principal } from './gate.ts';

export interface Call<Id extends OperationId> {
  readonly parameters: PathParameters<Id>;
  readonly query: QueryOf<Id>;
  readonly body: BodyOf<Id>;
  readonly principal: Principal;
  readonly requestId: string;
  /** The version that If-Match names. */
  readonly ifMatch: string | undefined;
  readonly request: HttpRequest;
}

export interface Reply<Id extends OperationId> {
  readonly answer?: Frozen<AnswerOf<Id>>;
  readonly etag?: string;
  readonly location?: string;
  /** In place of JSON: text, or a stream. */
  readonly response?: HttpResponse;
}

export type Handler<Id extends OperationId> = (call: Call<Id>) => Promise<Reply<Id>>;
export type Handlers = { readonly [Id in OperationId]: Handler<Id> };
export type HandlersOf<Ids extends OperationId> = Pick<Handlers, Ids>;

/** Handlers may answer with what they may not change. */
type Frozen<T> = T extends readonly (infer E)[] ? readonly Frozen<E>[] : T extends object ? { readonly [K in keyof T]: Frozen<T[K]> } : T;
