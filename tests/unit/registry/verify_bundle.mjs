// Verifies a Sigstore bundle with Sigstore's own JavaScript: node verify_bundle.mjs NODE_MODULES BUNDLE PUBLIC_KEY
// Prints the digest that the signed statement is about; exit 1 and the reason when it is refused.
import { createHash, createPublicKey } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const [, , modules, bundlePath, keyPath] = process.argv;
const need = createRequire(modules + "/");
const { bundleFromJSON } = need("@sigstore/bundle");
const { toSignedEntity, toTrustMaterial, Verifier } = need("@sigstore/verify");

const publicKey = createPublicKey(readFileSync(keyPath));
const hint = createHash("sha256").update(publicKey.export({ format: "der", type: "spki" })).digest("base64");
const nobody = { certificateAuthorities: [], timestampAuthorities: [], tlogs: [], ctlogs: [] };
const trust = toTrustMaterial(nobody, (wanted) => {
  if (wanted !== hint) throw new Error(`key not found: ${wanted}`);
  return { publicKey, validFor: () => true };
});
try {
  const bundle = bundleFromJSON(JSON.parse(readFileSync(bundlePath, "utf8")));
  const verifier = new Verifier(trust, { ctlogThreshold: 0, tlogThreshold: 0, timestampThreshold: 0 });
  verifier.verify(toSignedEntity(bundle));
  const statement = JSON.parse(bundle.content.dsseEnvelope.payload.toString());
  console.log(`sha256:${statement.subject[0].digest.sha256}`);
} catch (error) {
  console.error(String(error));
  process.exitCode = 1;
}
