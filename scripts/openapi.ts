/** Writes docs/openapi.json from the route table; a test in core/api tells when that is due. */
import { writeFileSync } from 'node:fs';
import { openapiDocument } from '../src/core/api/openapi.ts';
import { packageVersion } from '../src/app/agent/package-version.ts';

writeFileSync('docs/openapi.json', `${JSON.stringify(openapiDocument(packageVersion()), null, 2)}\n`);
