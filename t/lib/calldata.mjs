/*
 * What viem makes of the same values: the other half of t/13-calldata.t.
 *
 *     NODE_PATH=<node_modules> node calldata.mjs sign <types> <intents>
 *     NODE_PATH=<node_modules> node calldata.mjs encode <calls>
 *
 * <types> is what GET .../types answered, and all that the signer knows;
 * <intents> a JSON array of {type, key, form, nonce, deadline, message}. Prints
 * the signatures, one a line. <calls> is a JSON array of {function, args};
 * prints their calldata.
 */

import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import process from 'node:process';

const require = createRequire(process.env.NODE_PATH + '/');

const viem = require('viem');
const { privateKeyToAccount } = require('viem/accounts');

const read = (file) => JSON.parse(readFileSync(file));


/* the forms in which wallets give a signature */

const forms = {
    v27: (signature) => signature,

    v0: (signature) => signature.slice(0, -2)
                       + (signature.endsWith('1b') ? '00' : '01'),

    compact: (signature) => viem.serializeCompactSignature(
        viem.signatureToCompactSignature(viem.parseSignature(signature))),
};

/* a param that is not there: its default, or the zero of its type */

function member({ name, type }, schema, message)
{
    const text = message[name] ?? schema[name]?.default;

    switch (type) {

    case 'uint256':
    case 'int256':
        return viem.parseUnits(`${text ?? 0}`, schema[name]?.decimals ?? 0);

    case 'bool':
        return text ?? false;

    case 'string':
        return text ?? '';

    case 'address':
        return text ?? viem.zeroAddress;

    default:
        return text ?? (type === 'bytes' ? '0x' : viem.zeroHash);
    }
}

async function sign(types, intent)
{
    const { schema, eip712 } = types.find((t) => t.name === intent.type);
    const { properties } = schema.properties.params;
    const account = privateKeyToAccount(intent.key);
    const values = { ...intent.message, user: account.address,
                     nonce: intent.nonce, deadline: intent.deadline };

    const message = Object.fromEntries(
        eip712.types[eip712.primaryType].map((m) =>
            [m.name, member(m, properties, values)]));

    const signature = await account.signTypedData({
        domain: eip712.domain, types: eip712.types,
        primaryType: eip712.primaryType, message,
    });

    return forms[intent.form](signature);
}

function encode(call)
{
    const abi = viem.parseAbi([`function ${call.function}`]);

    return viem.encodeFunctionData({
        abi,
        args: call.args.map((value, i) =>
            /^u?int/.test(abi[0].inputs[i].type) ? BigInt(value) : value),
    });
}


const [verb, ...files] = process.argv.slice(2);

if (verb === 'sign') {
    const { types } = read(files[0]);

    for (const intent of read(files[1])) {
        console.log(await sign(types, intent));
    }

} else {
    for (const call of read(files[0])) {
        console.log(encode(call));
    }
}
