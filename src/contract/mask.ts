/** `text` with the password of every URL in it replaced: for messages that quote what somebody wrote. */
export function maskUrlPasswords(text: string): string {
  return text.replaceAll(/(:\/\/[^/@:\s]*:)[^/@\s]+@/g, '$1***@');
}
