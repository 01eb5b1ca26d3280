export type * from './access.ts';
export { PHONE_HOME_PATH, type PhoneHomeOptions, phoneHomeService } from './handler.ts';
