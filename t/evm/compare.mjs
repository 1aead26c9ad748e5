/*
 * src/evm/ against viem, on random input.
 *
 *     INTENT_NODE_MODULES=<where viem is> INTENT_EVM_DRIVER=<the driver> \
 *         node t/evm/compare.mjs [<count> [<seed>]]
 *
 * <the driver> is what "make -C t/unit O=<directory> driver" leaves as
 * <directory>/evm_driver.  Prints TAP.  The seed is printed too: with it and
 * the same count a failure comes back.
 */

import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import process from 'node:process';

const modules = process.env.INTENT_NODE_MODULES;
const require = createRequire(modules ? modules + '/' : import.meta.url);

const viem = require('viem');
const { privateKeyToAccount } = require('viem/accounts');

const driver = process.env.INTENT_EVM_DRIVER;
const count = Number(process.argv[2] ?? 5000);
const seed = Number(process.argv[3] ?? Date.now() % 2 ** 32);

if (!driver || !Number.isInteger(count) || count < 1
    || !Number.isInteger(seed))
{
    console.log('Bail out! usage: INTENT_EVM_DRIVER=<driver> compare.mjs '
                + '[<count> [<seed>]]');
    process.exit(2);
}

const ERROR = 'error -1';
const RANGE = 'error -2';
const CHECKSUM = 'error -3';

const U256 = 2n ** 256n;
const ORDER =
    0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;


/* random things; mulberry32, for Math.random() takes no seed */

let state = seed >>> 0;

function random32()
{
    state = (state + 0x6d2b79f5) >>> 0;

    let t = state;

    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);

    return (t ^ (t >>> 14)) >>> 0;
}

const below = (n) => random32() % n;
const pick = (list) => list[below(list.length)];

function bytes(n)
{
    const out = Buffer.alloc(n);

    for (let i = 0; i < n; i++) {
        out[i] = random32();
    }

    return '0x' + out.toString('hex');
}

/* of every size up to bits, with the ends more often than chance has them */

function number(bits)
{
    const width = below(bits + 1);

    switch (below(8)) {
    case 0:
        return 0n;
    case 1:
        return 2n ** BigInt(bits) - 1n;
    case 2:
        return 2n ** BigInt(Math.min(width, bits - 1));
    default:
        return BigInt(bytes(32)) >> BigInt(256 - Math.max(width, 1));
    }
}

/* calldata: the lengths where RLP changes its form, and some long ones */

function data()
{
    switch (below(8)) {
    case 0:
        return '0x';
    case 1:
        return bytes(1);
    case 2:
        return bytes(pick([54, 55, 56, 57, 255, 256, 257]));
    case 3:
        return below(16) ? bytes(below(2000)) : bytes(below(70000));
    default:
        return bytes(4 + 32 * below(8));
    }
}

const word = (v) => viem.toHex(BigInt.asUintN(256, v), { size: 32 });

function randomKey()
{
    for ( ;; ) {
        const key = below(20) ? bytes(32) : word(BigInt(1 + below(1000)));

        if (BigInt(key) > 0n && BigInt(key) < ORDER) {
            return key;
        }
    }
}

function identifier()
{
    const first = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_$';
    let name = pick(first);

    for (let n = below(24); n; n--) {
        name += pick(first + '0123456789');
    }

    return name;
}

function text()
{
    const alphabet = [...'abc XYZ 0189 .,:;!?', 'é', 'ß', '€', '漢', '😀'];
    let out = '';

    for (let n = below(100); n; n--) {
        out += pick(alphabet);
    }

    return out;
}


/* comparisons: a command for the driver and the line that is right */

const groups = [];

function compare(name, n, make)
{
    const group = { name, cases: [] };

    for (let i = 0; i < n; i++) {
        group.cases.push(...make());
    }

    groups.push(group);
}

const hexOfText = (s) => '0x' + Buffer.from(s, 'utf8').toString('hex');


function transaction()
{
    let fees = [number(256), number(256)];

    /* viem refuses a tip above the fee */

    if (fees[0] > fees[1]) {
        fees.reverse();
    }

    /* and parses only what a double holds, so half shall be such */

    const bits = pick([53, 64]);

    return {
        type: 'eip1559',
        chainId: number(bits) || 1n,
        nonce: number(bits),
        maxPriorityFeePerGas: fees[0],
        maxFeePerGas: fees[1],
        gas: number(64),
        to: below(6) ? bytes(20) : undefined,
        value: number(256),
        data: data(),
    };
}

/* r and s shorter than 32 bytes are the rare case; they shall have occurred */

let shortScalars = 0;

const transactions = [];

for (let i = 0; i < count; i++) {
    const tx = transaction();
    const key = randomKey();
    const account = privateKeyToAccount(key);
    const raw = await account.signTransaction(tx);
    const [r, s] = viem.fromRlp('0x' + raw.slice(4), 'hex').slice(10);

    if (r.length < 66 || s.length < 66) {
        shortScalars++;
    }

    const fields = [
        tx.chainId, tx.nonce, tx.maxPriorityFeePerGas, tx.maxFeePerGas,
        tx.gas, tx.to ?? '-', tx.value, tx.data,
    ].join(' ');

    transactions.push({
        key, fields, raw,
        from: account.address.toLowerCase(),
        hash: viem.keccak256(raw),
    });
}

let next = 0;

compare('signed transactions', count, () => {
    const t = transactions[next++];

    return [[`sign ${t.key} ${t.fields}`, `${t.raw} ${t.hash}`]];
});

next = 0;

compare('decoded transactions of viem', count, () => {
    const t = transactions[next++];

    return [[`decode ${t.raw}`, `${t.from} ${t.hash} ${t.fields}`]];
});

/* and those from before EIP-1559, where "-" stands for the tip */

const legacy = [];

for (let i = 0; i < count; i++) {
    const { chainId, nonce, maxFeePerGas, gas, to, value, data } =
        transaction();

    /* viem wants a double for the chain id here */

    const tx = { type: 'legacy', chainId: Number(chainId % 2n ** 50n) || 1, nonce,
                 gasPrice: maxFeePerGas, gas, to, value, data };
    const key = randomKey();
    const account = privateKeyToAccount(key);
    const raw = await account.signTransaction(tx);

    legacy.push({
        key, raw,
        fields: [tx.chainId, tx.nonce, '-', tx.gasPrice, tx.gas, tx.to ?? '-',
                 tx.value, tx.data].join(' '),
        from: account.address.toLowerCase(),
        hash: viem.keccak256(raw),
    });
}

next = 0;

compare('signed legacy transactions', count, () => {
    const t = legacy[next++];

    return [[`sign ${t.key} ${t.fields}`, `${t.raw} ${t.hash}`]];
});

next = 0;

compare('decoded legacy transactions of viem', count, () => {
    const t = legacy[next++];

    return [[`decode ${t.raw}`, `${t.from} ${t.hash} ${t.fields}`]];
});

/*
 * One byte changed: what viem still takes has its fields and its signer, and
 * what it does not take, or would write differently, is refused.
 */

async function decodeDamaged(raw)
{
    const tx = viem.parseTransaction(raw);
    const again = viem.serializeTransaction(tx, {
        r: tx.r, s: tx.s, yParity: tx.yParity
    });

    /* viem minds neither leading zeros nor a high s */

    if (again !== raw || BigInt(tx.s) > ORDER / 2n || tx.accessList?.length) {
        return ERROR;
    }

    const from = await viem.recoverTransactionAddress({
        serializedTransaction: raw
    });

    return [
        from.toLowerCase(), viem.keccak256(raw), tx.chainId, tx.nonce ?? 0,
        tx.maxPriorityFeePerGas ?? 0n, tx.maxFeePerGas ?? 0n, tx.gas ?? 0n,
        tx.to?.toLowerCase() ?? '-', tx.value ?? 0n, tx.data ?? '0x',
    ].join(' ');
}

/* well-formed, but not for viem: they say nothing about the bytes */

const viemOnly = [
    'IntegerOutOfRangeError', 'TipAboveFeeCapError', 'InvalidChainIdError',
];

const damaged = { taken: [], refused: [] };

for (const { raw } of transactions) {
    const i = 4 + 2 * below((raw.length - 4) / 2);
    const bad = raw.slice(0, i) + bytes(1).slice(2) + raw.slice(i + 2);
    let want = ERROR;

    try {
        want = await decodeDamaged(bad);

    } catch (e) {
        if (viemOnly.includes(e.name)) {
            continue;
        }
    }

    damaged[want === ERROR ? 'refused' : 'taken'].push([`decode ${bad}`,
                                                        want]);
}

groups.push({ name: 'damaged transactions taken', cases: damaged.taken });
groups.push({ name: 'damaged transactions refused', cases: damaged.refused });


const types = [
    'address', 'bool', 'bytes', 'string',
    ...Array.from({ length: 32 }, (_, i) => `uint${8 * i + 8}`),
    ...Array.from({ length: 32 }, (_, i) => `int${8 * i + 8}`),
    ...Array.from({ length: 32 }, (_, i) => `bytes${i + 1}`),
];

/* the type by kind first, or nearly all would be numbers */

function randomType()
{
    return below(2) ? pick(types.slice(0, 4)) : pick(types);
}

/* viem's value and the driver's word for it */

function argument(type)
{
    const [, kind, size] = /^([a-z]+)(\d*)$/.exec(type);

    switch (kind) {

    case 'uint': {
        const v = number(Number(size));
        return [v, word(v)];
    }

    case 'int': {
        const v = BigInt.asIntN(Number(size), number(Number(size)));
        return [v, word(v)];
    }

    case 'address': {
        const a = bytes(20);
        return [a, '0x' + a.slice(2).padStart(64, '0')];
    }

    case 'bool': {
        const b = below(2);
        return [b === 1, word(BigInt(b))];
    }

    case 'string': {
        const s = text();
        return [s, hexOfText(s)];
    }

    default: {
        if (size === '') {
            const b = data();
            return [b, b];
        }

        const b = bytes(Number(size));
        return [b, '0x' + b.slice(2).padEnd(64, '0')];
    }
    }
}

function encode(name, inputTypes, args)
{
    return viem.encodeFunctionData({
        abi: [{
            type: 'function', name, stateMutability: 'nonpayable',
            inputs: inputTypes.map((type) => ({ name: '', type })),
            outputs: [],
        }],
        functionName: name,
        args,
    });
}

compare('calls of random functions', count, () => {
    const name = identifier();
    const inputs = Array.from({ length: below(20) ? below(7) : below(33) },
                              randomType);
    const args = inputs.map(argument);

    /* the short names are for the driver alone: viem does not expand them */

    const signature = inputs.map((t) => below(2) ? t
                                        : t.replace(/^(u?int)256$/, '$1'));

    const want = encode(name, inputs, args.map((a) => a[0]));

    return [[
        [`call ${name}(${signature.join()})`, ...args.map((a) => a[1])]
            .join(' '),
        want,
    ]];
});

compare('numbers at and beyond the limits of their type', count, () => {
    const unsigned = below(2);
    const size = 8 * (1 + below(31));
    const type = `${unsigned ? 'uint' : 'int'}${size}`;
    const limit = 2n ** BigInt(unsigned ? size : size - 1);
    const v = pick([limit - 1n, limit, limit + number(64),
                    unsigned ? 0n : -limit,
                    unsigned ? 1n : -limit - 1n - number(64)]);
    let want;

    try {
        want = encode('f', [type], [v]);
    } catch {
        want = RANGE;
    }

    return [[`call f(${type}) ${word(v)}`, want]];
});

compare('keys', Math.ceil(count / 10), () => {
    const key = randomKey();

    return [[`key ${key}`, privateKeyToAccount(key).address.toLowerCase()]];
});

compare('addresses with, without and with a wrong checksum', count, () => {
    const lower = bytes(20);
    const right = viem.getAddress(lower);
    const upper = '0x' + lower.slice(2).toUpperCase();
    const at = 2 + below(40);
    const other = right[at] === right[at].toLowerCase()
                  ? right[at].toUpperCase() : right[at].toLowerCase();
    const wrong = right.slice(0, at) + other + right.slice(at + 1);

    /* EIP-55 has all upper case without a checksum; viem's strict has not */

    const taken = viem.isAddress(wrong) || wrong === upper;

    return [
        [`address ${lower}`, right],
        [`address ${upper}`, right],
        [`address ${right}`, right],
        [`address ${wrong}`, taken ? right : CHECKSUM],
    ];
});

compare('malformed addresses', Math.ceil(count / 10), () => {
    const right = viem.getAddress(bytes(20));
    const at = below(42);
    const bad = pick([
        right.slice(0, at), right + '0', right.slice(2), right.slice(0, 41),
        right.slice(0, at) + pick([...'gGzZ-_.']) + right.slice(at + 1),
    ]);

    if (viem.isAddress(bad, { strict: false })) {
        throw new Error(`viem takes ${bad}`);
    }

    return [[`address ${bad}`, ERROR]];
});

compare('numbers from decimal and hex', count, () => {
    const v = number(256);
    const hex = viem.numberToHex(v);
    const padded = viem.numberToHex(v, { size: 32 });

    return [
        [`dec ${v}`, hex],
        [`hex ${hex}`, `${viem.hexToBigInt(hex)}`],
        [`hex ${padded}`, `${v}`],
        [`hex 0x${hex.slice(2).toUpperCase()}`, `${v}`],
    ];
});

compare('numbers from 2^256 on', Math.ceil(count / 10), () => {
    const v = U256 + number(300);

    return [[`dec ${v}`, RANGE], [`hex ${viem.numberToHex(v)}`, RANGE]];
});

compare('hashes', count, () => {
    const message = below(4) ? bytes(below(600)) : data();

    return [[`keccak ${message}`, viem.keccak256(message)]];
});

compare('revert reasons', count, () => {
    const reason = text();
    const revert = viem.encodeErrorResult({
        abi: [{ type: 'error', name: 'Error',
                inputs: [{ name: '', type: 'string' }] }],
        errorName: 'Error',
        args: [reason],
    });

    return [[`reason ${revert}`, hexOfText(reason || 'execution reverted')]];
});


/* typed data: random structs of elementary types, signed in every form */

const typed = [];

for (let i = 0; i < Math.ceil(count / 5); i++) {
    const domain = { name: text(), version: text(), chainId: number(64) };

    if (below(2)) {
        domain.verifyingContract = bytes(20);
    }

    const primaryType = identifier();
    const members = Array.from({ length: below(20) ? below(9) : below(38) },
                               (_, i) => ({ name: identifier() + i,
                                            type: randomType() }));
    const values = members.map((m) => argument(m.type));

    const data = {
        domain, primaryType, types: { [primaryType]: members },
        message: Object.fromEntries(members.map((m, i) => [m.name,
                                                           values[i][0]])),
    };

    const account = privateKeyToAccount(randomKey());

    typed.push({
        data, values, members, account,
        domain: viem.hashDomain({
            domain,
            types: { EIP712Domain: viem.getTypesForEIP712Domain({ domain }) },
        }),
        struct: viem.hashStruct({ data: data.message, primaryType,
                                  types: data.types }),
        digest: viem.hashTypedData(data),
        signature: await account.signTypedData(data),
    });
}

next = 0;

compare('domains', typed.length, () => {
    const { data: { domain }, domain: want } = typed[next++];

    return [[
        `domain ${hexOfText(domain.name)} ${hexOfText(domain.version)} `
        + `${domain.chainId} ${domain.verifyingContract ?? '-'}`,
        want,
    ]];
});

next = 0;

compare('structs', typed.length, () => {
    const t = typed[next++];
    const members = t.members.map((m) => `${m.type} ${m.name}`);
    const type = `${t.data.primaryType}(${members.join()})`;

    return [[
        [`struct ${hexOfText(type)}`,
         ...t.members.map((m, i) => `${m.type} ${t.values[i][1]}`)].join(' '),
        t.struct,
    ]];
});

next = 0;

compare('digests and their signers', typed.length, () => {
    const { domain, struct, digest, signature, account } = typed[next++];
    const { r, s, yParity } = viem.parseSignature(signature);
    const rs = r + s.slice(2);
    const compact = viem.serializeCompactSignature(
        viem.signatureToCompactSignature({ r, s, yParity }));
    const highS = r + word(ORDER - BigInt(s)).slice(2)
                  + (yParity ? '1b' : '1c');
    const signer = account.address.toLowerCase();

    return [
        [`digest ${domain} ${struct}`, digest],
        [`signer ${digest} ${signature}`, signer],
        [`signer ${digest} ${rs}0${yParity}`, signer],
        [`signer ${digest} ${compact}`, signer],
        [`signer ${digest} ${highS}`, RANGE],
        [`signer ${digest} ${rs}`
         + pick(['02', '1a', '1d', '25', 'ff', '001b']), ERROR],
        [`signer ${digest} ${rs.slice(0, -2)}`, ERROR],
    ];
});

/* one bit flipped: nobody's, or somebody else's, as viem has it */

next = 0;

const flipped = [];

for (const { digest, signature } of typed) {
    const bit = below(64 * 8);
    const raw = Buffer.from(signature.slice(2), 'hex');
    let want = ERROR;

    raw[bit >> 3] ^= 1 << (bit & 7);

    const bad = '0x' + raw.toString('hex');

    if (BigInt('0x' + bad.slice(66, 130)) > ORDER / 2n) {
        want = RANGE;

    } else {
        try {
            want = (await viem.recoverAddress({ hash: digest, signature: bad }))
                   .toLowerCase();

        } catch {
            /* no such point */
        }
    }

    flipped.push([`signer ${digest} ${bad}`, want]);
}

groups.push({ name: 'signatures with a bit flipped', cases: flipped });


/* all at once through one driver */

console.log(`1..${groups.length + 1}`);
console.log(`# viem ${require('viem/package.json').version}, `
            + `count ${count}, seed ${seed}`);

const input = groups.flatMap((g) => g.cases.map((c) => c[0])).join('\n')
              + '\n';

const run = spawnSync(driver, [], {
    input, encoding: 'latin1', maxBuffer: 2 ** 30,
    stdio: ['pipe', 'pipe', 'inherit'],
});

const answers = (run.stdout ?? '').split('\n');

/* what follows the last line's end */

answers.pop();

const total = groups.reduce((n, g) => n + g.cases.length, 0);
const complete = run.status === 0 && answers.length === total;

const short = (s) => s === undefined ? 'nothing'
                     : s.length > 400 ? `${s.slice(0, 400)}...` : s;

let test = 0;
let at = 0;
let failed = 0;

function report(ok, name)
{
    failed += ok ? 0 : 1;
    console.log(`${ok ? 'ok' : 'not ok'} ${++test} - ${name}`);
}

report(complete, `the driver answers ${total} commands`);

if (!complete) {
    console.log(`# ${answers.length} answers, status ${run.status}, `
                + `signal ${run.signal}, ${run.error ?? 'no error'}`);
}

for (const group of groups) {
    const wrong = [];

    for (const [command, want] of group.cases) {
        const got = answers[at++];

        if (got !== want) {
            wrong.push({ command, want, got });
        }
    }

    report(wrong.length === 0 && group.cases.length > 0,
           `${group.name} (${group.cases.length})`);

    for (const { command, want, got } of wrong.slice(0, 3)) {
        console.log(`#   ${short(command)}\n#     want ${short(want)}\n`
                    + `#     got  ${short(got)}`);
    }

    if (wrong.length > 3) {
        console.log(`#   and ${wrong.length - 3} more`);
    }
}

console.log(`# ${shortScalars} of ${count} signatures had an r or s shorter `
            + 'than 32 bytes');

process.exit(failed ? 1 : 0);
