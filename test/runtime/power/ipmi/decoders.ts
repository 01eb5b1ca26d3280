/** Every decoder of bytes that a BMC, or anybody else on the network, sends: for the tests that feed them garbage. */
import {
  decodeAsf,
  decodeBootFlags,
  decodeFactors,
  decodeOpenSessionRequest,
  decodeOpenSessionResponse,
  decodePacket,
  decodeRakp1,
  decodeRakp2,
  decodeRakp3,
  decodeRakp4,
  decodeRequest,
  decodeResponse,
  decodeSdr,
  decodeSelEntry,
  decodeSol,
  getChannelAuthCapabilities,
  getChassisStatus,
  getDeviceId,
  getLanParameter,
  getRestartCause,
  getSelInfo,
  getSensorReading,
  getSensorThresholds,
  getSystemGuid,
  getUserAccess,
  type IpmiCommand,
  MalformedPacket,
} from 'cdk8s-baremetal-runtime/power/ipmi/index';

type Decode = (data: Uint8Array) => unknown;

const answerOf =
  (command: IpmiCommand<unknown>): Decode =>
  (data) =>
    command.parse(Buffer.from(data));

/** Of packets, and of the commands that every log-in needs. */
export const PACKET_DECODERS: Readonly<Record<string, Decode>> = {
  decodePacket,
  decodeAsf,
  decodeRequest,
  decodeResponse,
  decodeOpenSessionRequest,
  decodeOpenSessionResponse,
  decodeRakp1,
  decodeRakp2,
  decodeRakp3,
  decodeRakp4,
  decodeBootFlags,
  getDeviceId: answerOf(getDeviceId),
  getChassisStatus: answerOf(getChassisStatus),
  getChannelAuthCapabilities: answerOf(getChannelAuthCapabilities(4)),
};

/** Of what a BMC keeps: sensors, events, users, its console. */
export const RECORD_DECODERS: Readonly<Record<string, Decode>> = {
  decodeSdr,
  decodeSelEntry,
  decodeSol,
  decodeFactors,
  getSelInfo: answerOf(getSelInfo),
  getRestartCause: answerOf(getRestartCause),
  getSystemGuid: answerOf(getSystemGuid),
  getSensorReading: answerOf(getSensorReading(1)),
  getSensorThresholds: answerOf(getSensorThresholds(1)),
  getUserAccess: answerOf(getUserAccess(1)),
  getLanParameter: answerOf(getLanParameter(3)),
};

/** Runs a decoder: refusing the bytes is right, any other error is not. */
export function onlyMalformed(work: () => unknown): void {
  try {
    work();
  } catch (error) {
    if (!(error instanceof MalformedPacket)) throw error;
  }
}
