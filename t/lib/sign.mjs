// A client that knows nothing but what GET .../types tells: signs intents with
// viem. The file named holds { types, chains, jobs: [{ type, params, chain, nonce,
// expiresAt, key, user }] } (user is the signer where it is left out); each job's answer is a line of JSON: the signer, the
// digest, the signature as viem makes it, the same as EIP-2098 has it, its twin
// with the high s, and for the first one what ethers makes of the same.

import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';

const require = createRequire(process.env.NODE_PATH + '/');
const { hashTypedData, parseUnits, parseSignature, serializeCompactSignature,
        serializeSignature, signatureToCompactSignature, numberToHex } = require('viem');
const { privateKeyToAccount } = require('viem/accounts');
const { Wallet } = require('ethers');

const ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;
const ZERO = { address: '0x' + '00'.repeat(20), bool: false, string: '', bytes: '0x' };

// what the schema says a value is, into what the struct says it is

function value(field, schema, given) {
    given = given ?? schema?.default;

    if (/^u?int/.test(field.type)) {
        return given === undefined ? 0n
            : schema?.decimals ? parseUnits(String(given), schema.decimals) : BigInt(given);
    }

    const fixed = /^bytes(\d+)$/.exec(field.type);
    return given ?? ZERO[field.type] ?? '0x' + '00'.repeat(fixed[1]);
}

// ethers makes the domain's type itself, and takes no other than what is used

function byEthers(key, { types: { EIP712Domain, ...types } }, domain, message) {
    return new Wallet(key).signTypedData(domain, types, message);
}

const { types, jobs } = JSON.parse(readFileSync(process.argv[2]));

for (const job of jobs) {
    const { schema, chain, eip712 } = types.find((t) => t.name === job.type);
    const { primaryType } = eip712;
    const account = privateKeyToAccount(job.key);
    const message = {};

    for (const field of eip712.types[primaryType]) {
        message[field.name] = field.name === 'nonce' ? BigInt(job.nonce ?? 0)
            : field.name === 'deadline' ? BigInt(job.expiresAt)
            : field.name === 'user' ? job.user ?? account.address
            : value(field, schema.properties.params.properties[field.name],
                    job.params[field.name]);
    }

    const domain = eip712.domains[job.chain ?? chain];
    const data = { domain, types: { [primaryType]: eip712.types[primaryType] },
                   primaryType, message };
    const signature = await account.signTypedData(data);
    const { r, s, yParity } = parseSignature(signature);

    console.log(JSON.stringify({
        signer: account.address,
        digest: hashTypedData(data),
        signature,
        ethers: job === jobs[0] ? await byEthers(job.key, eip712, domain, message) : undefined,
        compact: serializeCompactSignature(signatureToCompactSignature({ r, s, yParity })),
        high: serializeSignature({ r, s: numberToHex(ORDER - BigInt(s), { size: 32 }),
                                   yParity: 1 - yParity }),
    }));
}
