/** Structured logging; a pino logger fits. Fields first, then the sentence. Never a secret in either. */
export interface LogMethod {
  (fields: Readonly<Record<string, unknown>>, message: string): void;
  (message: string): void;
}

export interface Logger {
  debug: LogMethod;
  info: LogMethod;
  warn: LogMethod;
  error: LogMethod;
  child(fields: Readonly<Record<string, unknown>>): Logger;
}

const nothing: LogMethod = () => undefined;

/** For tests and tools that want no log. */
export const silentLogger: Logger = { debug: nothing, info: nothing, warn: nothing, error: nothing, child: () => silentLogger };
