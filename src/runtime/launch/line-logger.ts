/**
 * The `Logger` of programs that live for milliseconds: one line a message, kept until `flush`, since a write per copied
 * file would cost as much as the copy. Loading a logging library would double the time of a start.
 */
import type { Logger, LogMethod } from '../core/logger.ts';

export interface LineLogger extends Logger {
  flush(): void;
}

export function lineLogger(write: (text: string) => void): LineLogger {
  let pending = '';
  const at =
    (level: string): LogMethod =>
    (first: Readonly<Record<string, unknown>> | string, message?: string) => {
      pending += `${level}: ${typeof first === 'string' ? first : (message ?? '')}\n`;
    };
  const logger: LineLogger = {
    debug: () => undefined,
    info: at('INFO'),
    warn: at('WARNING'),
    error: at('ERROR'),
    child: () => logger,
    flush() {
      if (pending !== '') write(pending);
      pending = '';
    },
  };
  return logger;
}
