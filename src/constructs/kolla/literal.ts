/**
 * Text as Kubernetes must be given it to leave it alone. In the values of variables, in commands and in those of probes it takes `$(NAME)` for a variable
 * and `$$` for an escaped dollar sign; a container engine takes neither.
 */
export function literal(text: string): string {
  return text.replace(/\$(?=[$(])/g, '$$$$'); // "$$", as a replacement is written
}
