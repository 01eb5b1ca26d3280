/** Files of kolla's contract that both halves of a start know. */

/** Where the start script finds the command, below KOLLA_RUN_DIR (default: the root directory). */
export const RUN_COMMAND = '/run_command';
/** The same command as a shell fragment that sets the positional parameters: quoting survives in it. */
export const RUN_COMMAND_ARGV = '/run_command.argv';
/** COPY_ONCE: this container has been configured. */
export const CONFIGURED = '/configured';
