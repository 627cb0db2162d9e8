/** Certificates for tests: an authority and hosts, made on the spot and valid for an hour. */
import '../../src/io/link/reflect-metadata.ts';
import { randomBytes, webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';

x509.cryptoProvider.set(webcrypto);

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;

export type TestIdentity = { readonly certPem: string; readonly keyPem: string; readonly caPem: string };

export type TestAuthority = {
  readonly caPem: string;
  /** A certificate with the name as common name and DNS name, and its key. */
  readonly issue: (name: string, validForMs?: number) => Promise<TestIdentity>;
};

export async function createTestAuthority(): Promise<TestAuthority> {
  const keys = await newKeys();
  const subject = 'CN=test authority';
  const ca = await x509.X509CertificateGenerator.createSelfSigned({
    ...common(),
    name: subject,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
    ],
  });
  const caPem = ca.toString('pem');
  return {
    caPem,
    issue: async (name, validForMs) => {
      const own = await newKeys();
      const certificate = await x509.X509CertificateGenerator.create({
        ...common(validForMs),
        issuer: subject,
        signingKey: keys.privateKey,
        subject: `CN=${name}`,
        publicKey: own.publicKey,
        extensions: [
          new x509.BasicConstraintsExtension(false, undefined, true),
          new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth]),
          new x509.SubjectAlternativeNameExtension([{ type: 'dns', value: name }]),
        ],
      });
      return { certPem: certificate.toString('pem'), keyPem: await pemOf(own.privateKey), caPem };
    },
  };
}

function common(validForMs = 3_600_000) {
  return {
    serialNumber: randomBytes(8).toString('hex').replace(/^./, '1'),
    notBefore: new Date(Date.now() - 60_000),
    notAfter: new Date(Date.now() + validForMs),
    signingAlgorithm: algorithm,
  };
}

async function newKeys() {
  return await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
}

async function pemOf(key: webcrypto.CryptoKey): Promise<string> {
  return x509.PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', key), 'PRIVATE KEY');
}
