/** The program start: mounts /tftpboot in the original's form, then becomes the command that it is given. */
import { startBmsCore } from '../launch/start-bms-core.ts';

startBmsCore(process.argv.slice(2), process.env);
