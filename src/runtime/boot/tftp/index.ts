/** TFTP for network boot: the server, the sources of its files, and the client that the simulator's firmware speaks. */
export type { TftpDownload, TftpGetOptions } from './client.ts';
export { tftpGet } from './client.ts';
export * from './codec.ts';
export { tftpErrors } from './errors.ts';
export type { DirectorySourceOptions } from './files.ts';
export { directorySource } from './files.ts';
export type { TftpServer, TftpServerOptions, TransferOutcome, TransferReport } from './server.ts';
export { createTftpServer } from './server.ts';
export type { FileRequest, FileSource, PathOptions, TftpFile, TftpRefusal } from './source.ts';
export { ACCESS_VIOLATION, bytesFile, combine, isRefusal, memorySource, NOT_FOUND, normalisePath } from './source.ts';
