/** `vmferry pki init|issue`: a small certificate authority and the certificates of hosts. */
import { createAuthority, issueHostCertificate } from '../../../io/link/pki.ts';
import { printResult } from '../console.ts';
import type { Console } from '../console.ts';
import { exitCodes } from '../exit-codes.ts';
import type { ExitCode } from '../exit-codes.ts';

export type PkiOptions = { readonly folder: string; readonly days: number; readonly json?: boolean };
export type PkiInitOptions = PkiOptions & { readonly name: string };
export type PkiIssueOptions = PkiOptions & { readonly address?: readonly string[] };

export async function initPki(options: PkiInitOptions, console: Console): Promise<ExitCode> {
  const { folder, name, days } = options;
  const files = await createAuthority({ folder, name, days });
  printResult(console, options, files, () => [
    `Made the authority ${files.certFile}; it signs for ${days} days.`,
    `Keep ${files.keyFile} secret and off the hosts: who has it can name itself any host.`,
  ]);
  return exitCodes.completed;
}

export async function issueCertificate(host: string, options: PkiIssueOptions, console: Console): Promise<ExitCode> {
  const { folder, days, address = [] } = options;
  const files = await issueHostCertificate({ folder, host, addresses: address, days });
  printResult(console, options, files, () => [
    `Made ${files.certFile} and ${files.keyFile} for host ${host}.`,
    `Copy both and the authority's ca.pem to it, and name them under "tls" in its agent's configuration.`,
  ]);
  return exitCodes.completed;
}
