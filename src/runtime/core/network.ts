/**
 * The network as the daemons see it. `node-network.ts` puts these interfaces on real sockets, the simulator on a virtual
 * wire; nothing else may open a socket.
 */
export interface Endpoint {
  /** Dotted quad, or IPv6 text. */
  readonly address: string;
  readonly port: number;
}

export interface UdpOptions {
  /** Local address; all addresses when absent. */
  readonly address?: string;
  /** Local port; 0 or absent: any free one. */
  readonly port?: number;
  /** May send to broadcast addresses. */
  readonly broadcast?: boolean;
  /** Share the port with other sockets that also ask for it. */
  readonly reuseAddress?: boolean;
  /** A bound descriptor opened by a launcher (SO_BINDTODEVICE), in place of address and port. */
  readonly fd?: number;
  /**
   * The only peer: datagrams of others are not heard, `send` goes there whatever it is told, and a peer that has no such port any more is told
   * to `onError` (ECONNREFUSED) where the network knows it.
   */
  readonly peer?: Endpoint;
  /** What is handed to `send` is not written again while it may still wait in the socket, so it need not be copied. @default false */
  readonly stable?: boolean;
}

export interface UdpSocket {
  readonly local: Endpoint;
  /** Bytes of the largest IP packet that the local interface carries whole; undefined where it is not known. */
  readonly mtu?: number | undefined;
  /** Hands the datagram to the network. Never throws: what cannot be sent is lost, as on a wire, and told to `onError`. The buffer is copied, unless it is `stable`. */
  send(data: Uint8Array, to: Endpoint): void;
  /** Resolves when the port is free again. Harmless when repeated. */
  close(): Promise<void>;
}

export interface UdpHandlers {
  onMessage(data: Uint8Array, from: Endpoint, socket: UdpSocket): void;
  /** A send that failed (ECONNREFUSED, EMSGSIZE …). The socket stays usable. */
  onError?(error: Error): void;
}

/** One ordered byte stream. */
export interface TcpConnection extends AsyncIterable<Uint8Array> {
  readonly local: Endpoint;
  readonly remote: Endpoint;
  /**
   * Writes one buffer, or several in order as one. Resolves when more may be written without piling up; the buffers are then the
   * caller's again. Rejects when the connection is gone.
   */
  write(data: Uint8Array | readonly Uint8Array[]): Promise<void>;
  /** Says that no more will be written (FIN) after what is queued. */
  end(): void;
  /** Drops the connection at once (RST where the network knows it); pending reads and writes reject with `error`. */
  destroy(error?: Error): void;
}

export interface TcpListener {
  readonly local: Endpoint;
  /** Stops accepting and drops open connections; resolves when the port is free. */
  close(): Promise<void>;
}

export interface TcpConnectOptions extends Endpoint {
  /** Source address, where a host has several. */
  readonly localAddress?: string;
  readonly signal?: AbortSignal;
}

export interface HttpRequest {
  readonly method: string;
  /** Decoded path without the query, always starting with "/". */
  readonly path: string;
  readonly query: URLSearchParams;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  /** The whole body; requests above the server's limit are answered 413 before the handler sees them. */
  readonly body: Uint8Array;
  readonly remote: Endpoint;
  readonly local: Endpoint;
  /** Aborts when the client goes away. */
  readonly signal: AbortSignal;
}

export interface HttpResponse {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** Text, bytes, or a stream of chunks (server-sent events, images). */
  readonly body?: string | Uint8Array | AsyncIterable<Uint8Array | string>;
}

/** An HTTP service is a function: it needs no socket. */
export type HttpHandler = (request: HttpRequest) => Promise<HttpResponse>;

export interface HttpServeOptions {
  readonly address?: string;
  readonly port: number;
  /** Largest request body accepted. Default 1 MiB. */
  readonly maxBodyBytes?: number;
  /** HTTPS in place of HTTP; TLS 1.2 or newer. A simulated network carries in the clear what would be inside. */
  readonly tls?: HttpTls;
}

/** PEM. */
export interface HttpTls {
  /** The server's certificate, then those between it and an authority. */
  readonly cert: string;
  readonly key: string;
}

export interface HttpServer {
  readonly local: Endpoint;
  /** Stops accepting, lets running requests end for `graceMs` (default 1,000), then drops them. */
  close(graceMs?: number): Promise<void>;
  /** For new connections from now on; throws when key and certificate do not belong together. Absent where there is no TLS. */
  renewTls?(tls: HttpTls): void;
}

export interface HttpClientRequest {
  readonly method?: string;
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
  readonly localAddress?: string;
  /** For https: the certificate authorities to trust, in PEM; the system's when absent. Verification cannot be turned off. */
  readonly ca?: string;
  /**
   * For https: what is not trusted rejects with CertificateRefused, which knows the fingerprint, before a byte of the request is sent. With `sha256` (64 hexadecimal digits)
   * that one certificate is trusted, in place of authorities and names.
   */
  readonly certificate?: { readonly sha256?: string };
  /** Largest answer accepted. Default 16 MiB. Says nothing about streams. */
  readonly maxBodyBytes?: number;
  /**
   * May take a connection that an earlier request to the same server left open, and leave it open for the next: no handshake each time. The server may have closed
   * it meanwhile, so the request must bear being sent twice. @default false
   */
  readonly keepAlive?: boolean;
  readonly signal?: AbortSignal;
}

/** The server showed a certificate that is not trusted; nothing was sent to it. */
export class CertificateRefused extends Error {
  constructor(
    readonly reason: string,
    /** Of the certificate that was shown, 64 hexadecimal digits. */
    readonly sha256: string,
  ) {
    super(`the certificate is not trusted: ${reason}`);
  }
}

export interface HttpClientResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

/** An answer whose body is still coming. */
export interface HttpClientStream {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** To be read once, or given up through the request's signal. Throws when the connection ends before the body does. */
  readonly body: AsyncIterable<Uint8Array>;
}

export interface Network {
  udp(options: UdpOptions, handlers: UdpHandlers): Promise<UdpSocket>;
  connect(options: TcpConnectOptions): Promise<TcpConnection>;
  listen(options: { address?: string; port: number }, onConnection: (connection: TcpConnection) => void): Promise<TcpListener>;
  serveHttp(options: HttpServeOptions, handler: HttpHandler): Promise<HttpServer>;
  request(request: HttpClientRequest): Promise<HttpClientResponse>;
  /** As `request`, but resolves with the head of the answer; on a connection of its own. */
  requestStream(request: HttpClientRequest): Promise<HttpClientStream>;
  /**
   * The Ethernet address behind an IPv4 address of a directly connected network, `aa:bb:cc:dd:ee:ff`, as the system's ARP table has it now; undefined
   * when it has none. Absent where no such table can be read.
   */
  hardwareAddressOf?(address: string): string | undefined;
}
