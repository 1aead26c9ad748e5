/*
 * The schemas that GET .../types serves against the server itself: the other
 * half of t/22-agreement.t.
 *
 *     NODE_PATH=<node_modules> node agreement.mjs types <seed>
 *     NODE_PATH=<node_modules> node agreement.mjs run <seed> <url> <count>
 *
 * The first prints intent_type blocks, some as users write them and others
 * that chance made of every type of param and every constraint. The second
 * POSTs <count> bodies for these types, valid ones and ones that break a rule,
 * has ajv judge the same bytes, and prints a line of JSON: how many were taken
 * and refused, how often each rule was broken, and where the verdicts differ.
 *
 * Half of the bodies are written as few writers of JSON do: with escapes for
 * letters, in keys too, and space between tokens; some go together, as an
 * array; some are spoilt as text, so that neither judge can read them.
 *
 * What a schema cannot know is not asked: that a time is in the future, that a
 * member is there twice, and that 5.0 is written with a point. t/10-type.t and
 * t/11-api.t ask. Signatures are t/25-signatures.t's.
 */

import { createRequire } from 'node:module';
import http from 'node:http';
import process from 'node:process';

const require = createRequire(process.env.NODE_PATH + '/');

const [verb, seed, url, count] = process.argv.slice(2);

const RANDOM_TYPES = 40;
const CONNECTIONS = 16;

const EXACT = 2n ** 53n - 1n;
const U256 = 2n ** 256n;
const CALLEE = '0x00000000219ab540356cBB839Cbe05303d7705Fa';


/* random things; mulberry32, for Math.random() takes no seed */

let state = Number(seed) >>> 0;

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
const has = (object, name) => Object.hasOwn(object, name);
const hex = (n) => Array.from({ length: n }, () => pick([...'0123456789abcdef']))
                   .join('');

/* from 0 to 2^bits - 1, of any size, and the ends more often than chance */

function number(bits)
{
    switch (below(8)) {
    case 0:
        return 0n;
    case 1:
        return 2n ** BigInt(bits) - 1n;
    case 2:
        return 10n ** BigInt(below(1 + Math.floor(bits * 0.3)));
    default:
        return BigInt('0x' + hex(64)) >> BigInt(256 - 1 - below(bits));
    }
}


/* ---- types ---- */

const worked = [
    {
        name: 'transfer',
        params: [
            { name: 'recipient', kind: 'address' },
            { name: 'amount', kind: 'uint256', positive: true },
            { name: 'token', kind: 'address', optional: true },
        ],
        calls: [
            'to=$token function="transfer(address,uint256)" '
            + 'args=$recipient,$amount when=$token',
            'to=$recipient value=$amount',
        ],
    },
    {
        name: 'swap',
        params: [
            { name: 'tokenIn', kind: 'address' },
            { name: 'tokenOut', kind: 'address' },
            { name: 'amountIn', kind: 'decimal', places: 18, positive: true },
            { name: 'minAmountOut', kind: 'decimal', places: 18,
              positive: true },
            { name: 'recipient', kind: 'address' },
        ],
        calls: [
            `to=${CALLEE} function="swap(address,address,uint256,uint128,`
            + 'address,uint256)" args=$tokenIn,$tokenOut,$amountIn,'
            + '$minAmountOut,$recipient,$deadline',
        ],
        narrow: [{ bits: { minAmountOut: ['u', 128] } }],
    },
    {
        name: 'stake',
        params: [
            { name: 'amount', kind: 'decimal', places: 18, positive: true,
              max: 32n * 10n ** 18n },
            { name: 'validator', kind: 'address', optional: true,
              preset: '0x' + '0'.repeat(40) },
            { name: 'referral', kind: 'string', optional: true, preset: '',
              min_length: 0, max_length: 32 },
        ],
        calls: [
            `to=${CALLEE} value=$amount function="stake(address,string)" `
            + 'args=$validator,$referral',
        ],
    },
    {
        name: 'none',
        params: [],
        calls: [`to=${CALLEE} value=1`],
    },
    {
        name: 'never',
        params: [{ name: 'p', kind: 'uint256', positive: true, max: 0n,
                   optional: true },
                 { name: 'q', kind: 'uint256', preset: '300' }],
        calls: [`to=${CALLEE} function="f(uint8)" args=$q`],
        narrow: [{ bits: { q: ['u', 8] } }],
    },
];

const oddNames = ['_', 'P0', 'p', 'type', 'params', 'length', 'prototype',
                  'if', 'enum', '__PROTO__', 'p'.repeat(64)];

const kinds = ['address', 'uint256', 'int256', 'decimal', 'bytes', 'bytes32',
               'bool', 'string', 'enum'];

const isNumber = (p) => ['uint256', 'int256', 'decimal'].includes(p.kind);
const mayLack = (p) => Boolean(p.optional) && p.preset === undefined;

function typeRange(kind)
{
    return kind === 'int256' ? [-(2n ** 255n), 2n ** 255n - 1n]
                             : [0n, U256 - 1n];
}

function range(p)
{
    let [low, high] = typeRange(p.kind);

    if (p.positive) {
        low = 1n;
    }

    if (p.min !== undefined && p.min > low) {
        low = p.min;
    }

    if (p.max !== undefined && p.max < high) {
        high = p.max;
    }

    return [low, high];
}

/* a scaled number as it is written, without needless zeros */

function written(v, places)
{
    if (!places) {
        return `${v}`;
    }

    const digits = `${v}`.padStart(places + 1, '0');
    const fraction = digits.slice(-places).replace(/0+$/, '');

    return digits.slice(0, -places) + (fraction ? `.${fraction}` : '');
}

/* of a default */

function scaled(p)
{
    const [whole, fraction = ''] = p.preset.split('.');

    return BigInt(whole + fraction.padEnd(p.places ?? 0, '0'));
}

function constrainNumber(p)
{
    const ends = [number(256), number(below(80) + 1)];

    if (p.kind === 'int256') {
        ends[0] >>= 1n;

        for (let i = 0; i < 2; i++) {
            ends[i] = below(2) ? -ends[i] : ends[i];
        }
    }

    /* small ones, and ranges of a few numbers, have edges near each other */

    if (below(3) === 0) {
        ends[0] = BigInt(below(2000));
        ends[1] = ends[0] + BigInt(below(200));
    }

    ends.sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));

    if (below(2)) {
        p.min = ends[0];
    }

    if (below(2)) {
        p.max = ends[1];
    }

    p.positive = below(4) === 0 && (p.max === undefined || p.max > 0n);
}

function randomParam(name, kind)
{
    const p = { name, kind };

    if (kind === 'decimal') {
        p.places = below(4) ? pick([1, 2, 6, 8, 18]) : 1 + below(77);
    }

    if (isNumber(p)) {
        constrainNumber(p);
    }

    if (kind === 'enum') {
        p.words = pick([['a'], ['red', 'green', 'blue'],
                        ['ä', '😀', 'x y', '"', '\\', 'true', '1']]);
    }

    if ((kind === 'string' || kind === 'bytes') && below(2)) {
        p.min_length = below(40);
        p.max_length = p.min_length + below(40);
    }

    if (below(3) === 0) {
        p.optional = true;
    }

    if (below(4) === 0) {
        const v = validValue(p);

        if (v !== undefined && !/[\0-\x1f\ud800-\udfff]/.test(v)) {
            p.optional = true;
            p.preset = `${v}`;
        }
    }

    return p;
}

/* guards, of which none is above another that holds whenever it does */

function randomCalls(type)
{
    const guards = [];
    const within = (a, b) => a.every((name) => b.includes(name));

    for (let n = below(4); n; n--) {
        const guard = { when: [], unless: [] };

        for (const p of type.params) {
            if (mayLack(p) || p.kind === 'bool') {
                const side = below(4);

                if (side < 2) {
                    guard[side ? 'when' : 'unless'].push(p.name);
                }
            }
        }

        if (!guards.some((g) => within(g.when, guard.when)
                                && within(g.unless, guard.unless)))
        {
            guards.push(guard);
        }
    }

    if (below(3) && !guards.some((g) => !g.when.length && !g.unless.length)) {
        guards.push({ when: [], unless: [] });
    }

    if (guards.length === 0) {
        guards.push({ when: [], unless: [] });
    }

    type.calls = [];
    type.narrow = [];

    for (const guard of guards) {
        randomCall(type, guard);
    }
}

function randomCall(type, guard)
{
    const inputs = [];
    const args = [];
    const bits = {};

    for (const p of type.params) {

        if (!isNumber(p) || (mayLack(p) && !guard.when.includes(p.name))) {
            continue;
        }

        for (let n = below(3); n; n--) {
            const kind = p.kind === 'int256' ? 'i'
                         : p.kind === 'uint256' ? 'u' : pick(['u', 'i']);
            const size = below(3) ? 8 * (1 + below(32)) : 256;

            inputs.push(`${kind === 'u' ? 'uint' : 'int'}${size}`);
            args.push(`$${p.name}`);
            put(bits, p.name, [...has(bits, p.name) ? bits[p.name] : [],
                               kind, size]);
        }
    }

    /* what is of the intent, not of its params, may not fit the call either */

    const user = below(4) === 0;

    if (user) {
        inputs.push('address');
        args.push('$user');
    }

    if (below(4) === 0) {
        inputs.push(`uint${pick([32, 40, 64, 256])}`);
        args.push('$deadline');
    }

    if (below(4) === 0) {
        inputs.push(`uint${pick([8, 256])}`, 'string');
        args.push('$nonce', '$user');
    }

    let text = `to=${user && below(4) === 0 ? '$user' : CALLEE}`;

    if (args.length) {
        text += ` function="f(${inputs.join()})" args=${args.join()}`;

    } else {
        text += ' value=1';
    }

    type.calls.push(text
                    + guard.when.map((name) => ` when=$${name}`).join('')
                    + guard.unless.map((name) => ` unless=$${name}`).join(''));
    type.narrow.push({ ...guard, bits, user });
}

/* there are types that no intent can be of; they would show little */

function randomType(n)
{
    for ( ;; ) {
        const type = anyType(n);
        let good = 0;

        for (let i = 0; i < 100; i++) {
            const params = validParams(type);

            good += madeCall(type, params) !== undefined
                    && type.params.every((p) => {
                        const [low, high] = narrowed(type, p, params);

                        if (!isNumber(p) || (!has(params, p.name)
                                             && p.preset === undefined))
                        {
                            return !isNumber(p) || p.optional;
                        }

                        const v = has(params, p.name) ? low : scaled(p);

                        return v >= low && v <= high;
                    });
        }

        if (good > 20) {
            return type;
        }
    }
}

function anyType(n)
{
    const type = { name: `t${n}`, params: [] };

    /* the first ones have one param each, so that each kind surely is there */

    if (n < 2 * kinds.length) {
        type.params.push(randomParam('p', kinds[n % kinds.length]));

    } else {
        const names = below(3) ? [] : [...oddNames];

        for (let i = below(8); i >= 0; i--) {
            const name = names.splice(below(names.length || 1), 1)[0];

            type.params.push(randomParam(name ?? `p${i}`, pick(kinds)));
        }
    }

    randomCalls(type);

    return type;
}

const quoted = (word) => `"${word.replace(/["\\]/g, '\\$&')}"`;

function paramText(p)
{
    const words = [];

    words.push(p.places ? `decimal=${p.places}`
               : p.words ? quoted(`enum=${p.words.join('|')}`) : p.kind);

    if (p.optional && p.preset === undefined) {
        words.push('optional');
    }

    if (p.preset !== undefined) {
        words.push(quoted(below(2) || /^".*"$/.test(p.preset)
                          ? `default="${p.preset}"` : `default=${p.preset}`));
    }

    if (p.positive) {
        words.push('positive');
    }

    for (const name of ['min', 'max']) {
        if (p[name] !== undefined) {
            words.push(`${name}=${written(p[name], p.places)}`);
        }
    }

    if (p.max_length !== undefined) {
        words.push(p.min_length === p.max_length
                   ? `length=${p.min_length}`
                   : `length=${p.min_length}-${p.max_length}`);
    }

    return `param ${p.name} ${words.join(' ')};`;
}

function typeText(type)
{
    const lines = [...type.params.map(paramText),
                   ...type.calls.map((call) => `call ${call};`)];

    return `        intent_type ${type.name} {\n`
           + lines.map((line) => `            ${line}\n`).join('')
           + '        }\n';
}


/* ---- values ---- */

/* JSON as it is to be sent, where JSON.stringify() would write it otherwise */

class Raw {
    constructor(text) { this.text = text; }
}

function serialize(v, odd)
{
    const space = () => odd ? pick(['', '', '', ' ', '\n', '\r\n', '\t  '])
                            : '';
    const list = (open, items, close) =>
        space() + open + space()
        + items.map((item) => item + space()).join(`,${space()}`) + close
        + space();

    if (v instanceof Raw) {
        return v.text;
    }

    if (Array.isArray(v)) {
        return list('[', v.map((item) => serialize(item, odd)), ']');
    }

    if (v !== null && typeof v === 'object') {
        return list('{', Object.keys(v).map((name) =>
            string(name, odd) + space() + ':' + space()
            + serialize(v[name], odd)), '}');
    }

    return typeof v === 'string' ? string(v, odd) : JSON.stringify(v);
}

/* any UTF-16 unit may be an escape, "/" has one, and digits are of any case */

function string(s, odd)
{
    const escape = (c) => {
        const digits = c.charCodeAt(0).toString(16).padStart(4, '0');

        return c === '/' && below(2) ? '\\/'
               : `\\u${below(2) ? digits : digits.toUpperCase()}`;
    };

    if (!odd || below(2)) {
        return JSON.stringify(s);
    }

    return `"${[...s].map((c) => below(4) ? JSON.stringify(c).slice(1, -1)
                                 : c.split('').map(escape).join('')).join('')}"`;
}

/* of its own, as JSON.parse() has it, even where the name is __proto__ */

function put(object, name, value)
{
    Object.defineProperty(object, name, { value, enumerable: true,
                                          configurable: true,
                                          writable: true });

    return object;
}

const member = (object, name, value) => put({ ...object }, name, value);

const letters = [...'abcXYZ 0189"\\/.,', '\n', '\u007f', 'é', '€', '\uffff',
                 '漢', '😀', '\u{10ffff}', '\u0301'];

const text = (n) => Array.from({ length: n }, () => pick(letters)).join('');

function checksummed(address)
{
    return require('viem').getAddress(address);
}

function address()
{
    const a = '0x' + hex(40);

    return pick([a, checksummed(a), '0x' + a.slice(2).toUpperCase()]);
}

function within(low, high)
{
    const n = high - low;

    switch (below(4)) {
    case 0:
        return low;
    case 1:
        return high;
    case 2:
        return low + number(256) % (n + 1n);
    default:
        return n < 10n ? low + BigInt(below(Number(n) + 1))
               : pick([low + BigInt(below(10)), high - BigInt(below(10))]);
    }
}

/* in a form that is taken: of a decimal with zeros behind it, now and then */

function numeral(v, p)
{
    let s = written(v, p.places);

    if (p.places && below(2)) {
        const [whole, fraction = ''] = s.split('.');
        const places = below(p.places + 1);

        s = places > fraction.length
            ? `${whole}.${fraction.padEnd(places, '0')}` : s;
    }

    if (/^-?\d+$/.test(s) && BigInt(s) <= EXACT && BigInt(s) >= -EXACT
        && below(3) === 0)
    {
        return new Raw(s);
    }

    return s;
}

/* undefined: there is none */

function validValue(p)
{
    switch (p.kind) {

    case 'uint256':
    case 'int256':
    case 'decimal': {
        const [low, high] = range(p);

        return low > high ? undefined : written(within(low, high), p.places);
    }

    case 'address':
        return address();

    case 'bytes':
        return '0x' + hex(2 * length(p));

    case 'bytes32':
        return '0x' + hex(64);

    case 'bool':
        return below(2) === 1;

    case 'string':
        return text(length(p));

    default:
        return pick(p.words);
    }
}

function length(p)
{
    const [min, max] = [p.min_length ?? 0, p.max_length ?? 60];

    return pick([min, max, min + below(max - min + 1)]);
}

/* the one of type.narrow whose guards hold */

function madeCall(type, params)
{
    const holds = (name) => {
        const p = type.params.find((q) => q.name === name);

        return has(params, name) ? params[name] !== false
               : p.preset !== undefined
                 && (p.kind !== 'bool' || p.preset === 'true');
    };

    return (type.narrow ?? []).find((c) =>
        (c.when ?? []).every(holds) && !(c.unless ?? []).some(holds));
}

/* what a number may be so that the call that is made takes it */

function narrowed(type, p, params)
{
    let [low, high] = range(p);

    const all = madeCall(type, params)?.bits ?? {};
    const bits = has(all, p.name) ? all[p.name] : [];

    for (let i = 0; i < bits.length; i += 2) {
        const n = 2n ** BigInt(bits[i + 1] - (bits[i] === 'i' ? 1 : 0));
        const floor = bits[i] === 'i' ? -n : 0n;

        low = floor > low ? floor : low;
        high = n - 1n < high ? n - 1n : high;
    }

    return [low, high];
}

function validParams(type)
{
    const params = {};

    for (const p of type.params) {

        if (p.optional && below(2)) {
            continue;
        }

        const v = validValue(p);

        if (v !== undefined) {
            put(params, p.name, v);
        }
    }

    for (const p of type.params) {
        if (has(params, p.name) && isNumber(p)) {
            const [low, high] = narrowed(type, p, params);

            if (low <= high) {
                put(params, p.name, numeral(within(low, high), p));
            }
        }
    }

    return params;
}


/* ---- mistakes ---- */

const notANumber = [
    '', ' ', '-', '+1', ' 1', '1 ', '1\n', '01', '00', '-0', '-01', '--1',
    '1_000', '1,5', '.5', '5.', '1..5', '1.5.5', '1.', '-1.5', '1e3', '1E3',
    '0x10', 'NaN', 'Infinity', '１', '٣', '1\u0000', 'one', '0.', '0.0', '00.5',
    '1'.repeat(78), '1'.repeat(79), '9'.repeat(78), '9'.repeat(500),
    `0.${'1'.repeat(78)}`, `${U256}`, `${U256 - 1n}`, `${-(2n ** 255n)}`,
    `${-(2n ** 255n) - 1n}`, `${2n ** 255n}`, `${2n ** 255n - 1n}`,
];

const notExact = [
    1.5, 0.1, -0.5, 1e300, -1e300, new Raw('1e-7'), new Raw('-0'),
    new Raw(`${EXACT}`), new Raw(`${-EXACT}`), new Raw(`${EXACT + 1n}`),
    new Raw(`${-EXACT - 1n}`), new Raw(`${2n ** 63n - 1n}`),
    new Raw(`${2n ** 64n}`), 0, 1, -1,
];

const otherJson = [
    null, true, false, 0, 1, -1, 1.5, '', 'x', '0x', '0', 'true', [], {}, ['1'],
    { a: 1 }, [[]],
];

function mixedCase(a)
{
    const right = checksummed(a);

    for (let i = 2; i < 42; i++) {
        if (/[a-fA-F]/.test(right[i])) {
            const other = right[i] === right[i].toLowerCase()
                          ? right[i].toUpperCase() : right[i].toLowerCase();

            return right.slice(0, i) + other + right.slice(i + 1);
        }
    }

    return right;
}

/* values at the edge and beyond, by kind; some of them are right all the same */

function doubtful(type, p, params)
{
    switch (p.kind) {

    case 'uint256':
    case 'int256':
    case 'decimal': {
        const edges = [...range(p), ...narrowed(type, p, params),
                       ...typeRange(p.kind), 0n];
        const at = pick(edges) + BigInt(below(5) - 2);

        switch (below(4)) {
        case 0:
            return pick(notANumber);
        case 1:
            return pick(notExact);
        case 2:

            /* as a digit more or less, somewhere */

            return written(at < 0n ? -at : at, p.places)
                   .replace(/\d(?=\d*$)/, (d) => pick([d + d, '', d + '.' + d,
                                                       d]));
        default:
            return at < 0n ? (p.places ? `-${written(-at, p.places)}` : `${at}`)
                   : numeral(at, p);
        }
    }

    case 'address': {
        const a = '0x' + hex(40);

        return pick([mixedCase(a), a.slice(0, -1), a + '0', a.slice(2),
                     '0X' + a.slice(2), a + '\n', ' ' + a, a.slice(0, -1) + 'g',
                     checksummed(a).toUpperCase(), '', '0x', checksummed(a)]);
    }

    case 'bytes':
    case 'bytes32': {
        const n = p.kind === 'bytes32' ? 32
                  : pick([p.min_length ?? 0, p.max_length ?? 60]);
        const b = hex(2 * Math.max(0, n + below(3) - 1));

        return pick(['0x' + b, '0x' + b, b, '0X' + b, '0x' + b + 'a',
                     '0x' + b + 'zz', '0x' + b.toUpperCase(), '0x ' + b,
                     '0x' + b + '\n', '', '0x', '0x' + hex(1000)]);
    }

    case 'bool':
        return pick(['true', 'false', 0, 1, true, false]);

    case 'string': {
        const n = Math.max(0, pick([p.min_length ?? 0, p.max_length ?? 60])
                              + below(3) - 1);
        const s = text(n);

        return pick([s, s, '😀'.repeat(n), 'é'.repeat(n), s + '\u0000',
                     '\ud800' + s, s + '\udfff', '\udc00\ud800', 5, true]);
    }

    default:
        return pick(['', p.words[0] + ' ', p.words[0].toUpperCase(),
                     p.words.join('|'), pick(p.words), 0, '0', ' ']);
    }
}

const anotherMember = ['', 'x', 'P', 'p ', '__proto__', 'constructor', 'a/b',
                       '~', 'é', 'p\u0000', 'toString', '\ud800'];

/*
 * Each takes a body that is right and spoils it (or does not: that is for the
 * judges to say). undefined: it has no meaning for this body.
 */

const mistakes = {

    none: (body) => body,

    value: (body, type) => {
        const p = type.params.length && pick(type.params);

        return p && { ...body, params: { ...body.params, [p.name]:
                                         doubtful(type, p, body.params) } };
    },

    json: (body, type) => {
        const p = type.params.length && pick(type.params);

        return p && { ...body, params: { ...body.params,
                                         [p.name]: pick(otherJson) } };
    },

    missing: (body) => {
        const names = Object.keys(body.params);

        if (names.length === 0) {
            return undefined;
        }

        const { [pick(names)]: gone, ...params } = body.params;

        return { ...body, params };
    },

    /* as the guards of calls see it */

    lacking: (body, type) => {
        const params = {};

        for (const p of type.params) {
            if (!(p.optional && below(2)) && has(body.params, p.name)) {
                put(params, p.name, p.kind === 'bool' ? below(2) === 1
                                    : body.params[p.name]);
            }
        }

        return { ...body, params };
    },

    member: (body) => ({ ...body, params: member(body.params,
                                                 pick(anotherMember), '1') }),

    params: (body) => ({ ...body, params: pick(otherJson) }),

    noParams: ({ params, ...body }) => body,

    envelope: (body) => member(body, pick([...anotherMember, 'id', 'status',
                                           'nonces', 'userid']),
                               pick(otherJson)),

    chain: (body) => ({ ...body, chain: pick(['dev', 'other', 'Dev', '', 'x',
                                              'dev ', ...otherJson]) }),

    userId: (body) => ({ ...body, userId: pick([
        'u', 'é', text(20), 'a'.repeat(256), 'a'.repeat(257), 'é'.repeat(128),
        'é'.repeat(129), '', 'a\u0000', '\ud800', address(), address(),
        mixedCase(address()), address().slice(1), address() + '0',
        ...otherJson]) }),

    noUserId: ({ userId, ...body }) => userId === undefined ? undefined : body,

    expiresAt: (body) => ({ ...body, expiresAt: pick([
        4102444800, 253402300799, 253402300800, 1e300, 1.5, -1, new Raw('-1'),
        '2100-01-31T09:00:00Z', '2100-01-31t09:00:00z', '2100-01-31 09:00:00Z',
        '2100-01-31T09:00:00', '2100-01-31T09:00Z', '2100-01-31',
        '2100-01-31T09:00:00.1Z', '2100-01-31T09:00:00.123456789Z',
        '2100-01-31T09:00:00.Z', '2100-01-31T09:00:00+02:00',
        '2100-01-31T09:00:00-23:59', '2100-01-31T09:00:00+24:00',
        '2100-01-31T09:00:00+0200', '2100-02-29T09:00:00Z',
        '2096-02-29T09:00:00Z', '2100-02-30T09:00:00Z', '2100-13-01T09:00:00Z',
        '2100-00-01T09:00:00Z', '2100-01-00T09:00:00Z', '2100-01-32T09:00:00Z',
        '2100-04-31T09:00:00Z', '2100-01-31T24:00:00Z', '2100-01-31T23:60:00Z',
        '2100-01-31T09:00:61Z', '2100-01-31T09:00:00Z\n',
        ' 2100-01-31T09:00:00Z', '+002100-01-31T09:00:00Z',
        '12100-01-31T09:00:00Z', 'tomorrow', '4102444800',

        /* 0 and 1 are times, long ago */

        ...['4102444800.0', '4.1024448e9', '41024448E+2', '4102444800.5',
            '253402300799.0', '253402300800.0', '1e400', '-1e400', '4e18',
            '99999999999999999999', '9223372036854775808', '4e400'
           ].map((n) => new Raw(n)),

        /* 0 and 1 are times, long ago */

        ...otherJson.filter((v) => v !== 0 && v !== 1)]) }),

    type: (body, { name }) => ({ ...body, type: pick([
        name.toUpperCase(), `${name} `, ` ${name}`, '', `${name}\u0000`,
        name.slice(1), '__proto__', 'toString', ...otherJson]) }),

    noType: ({ type, ...body }) => body,
};

/* not JSON any more, in most cases: the same on both sides */

const spoilers = [
    (s) => s.slice(0, below(s.length)),
    (s) => s + pick(['x', '{}', ',', ']', '\u0000', '""', '\u00a0', '\f']),
    (s) => '\ufeff' + s,
    (s) => s.replace(/:/, () => pick(['', '=', '::', ': ,'])),
    (s) => s.replace(/,/, () => pick([',,', ';', ''])),
    (s) => s.replace(/\}/, () => pick([',}', ']', ''])),
    (s) => s.replaceAll('"', "'"),
    (s) => s.replace(/"/, () => pick(['"\n', '"\t', '"\u0001', '"\\x',
                                     '"\\', '"\\u12', '"\\u{41}'])),
    (s) => s.replace(/:/, () => pick([':+1,"a":', ':01,"a":', ':.5,"a":',
                                     ':5.,"a":', ':0x1,"a":', ':NaN,"a":',
                                     ':-,"a":', ':1e,"a":', ':True,"a":'])),
    (s) => s.replace(/\{/, '{/**/'),
];

function randomBody(type)
{
    let body = { type: type.name, params: validParams(type) };
    const broken = [];

    if (below(4) === 0) {
        body.chain = 'dev';
    }

    if (madeCall(type, body.params)?.user) {
        body.userId = address();
    }

    for (let n = pick([0, 1, 1, 1, 2]); n; n--) {

        /* there are more wrong values than wrong anything else */

        const name = below(3) ? pick(Object.keys(mistakes)) : 'value';

        /* what is spoilt already is not looked into */

        if (body.params === null || typeof body.params !== 'object'
            || Array.isArray(body.params))
        {
            break;
        }

        const spoilt = mistakes[name](body, type);

        if (spoilt) {
            body = spoilt;
            broken.push(name);
        }
    }

    let text = serialize(body, below(2));

    if (below(25) === 0) {
        text = pick(spoilers)(text);
        broken.push('text');
    }

    return { broken: broken.length ? broken : ['none'],
             type: type.name, text, json: parse(text) };
}

/* undefined: it is none */

function parse(text)
{
    try {
        return JSON.parse(text);

    } catch {
        return undefined;
    }
}


/* ---- the judges ---- */

const agent = new http.Agent({ keepAlive: true, maxSockets: CONNECTIONS });

function request(method, path, body)
{
    return new Promise((resolve, reject) => {
        const r = http.request(url + path, {
            method, agent,
            headers: body === undefined ? {}
                     : { 'Content-Type': 'application/json',
                         'Content-Length': Buffer.byteLength(body) },
        }, (answer) => {
            const parts = [];

            answer.on('data', (part) => parts.push(part));
            answer.on('error', reject);
            answer.on('end', () => resolve({
                status: answer.statusCode,
                text: Buffer.concat(parts).toString(),
            }));
        });

        r.on('error', reject);
        r.end(body);
    });
}

function eip55(s)
{
    const digits = s.slice(2);

    return digits === digits.toLowerCase() || digits === digits.toUpperCase()
           || require('viem').isAddress(s);
}

/* as strict as ajv is by itself, and what it only warns of is an error */

function validators(types)
{
    const Ajv = require('ajv/dist/2020').default;
    const formats = require('ajv-formats').default;
    const ajv = new Ajv({ strict: true, strictRequired: false });

    formats(ajv);
    ajv.addFormat('eip55', eip55);
    ajv.addKeyword('decimals');

    return Object.fromEntries(types.map((t) => [t.name,
                                                ajv.compile(t.schema)]));
}

async function judge(types)
{
    const served = await request('GET', '/types');

    if (served.status !== 200) {
        throw new Error(`GET .../types: ${served.status} ${served.text}`);
    }

    const schema = validators(JSON.parse(served.text).types);
    const result = { bytes: served.text.length, taken: 0, refused: 0,
                     broken: {}, types: {}, differences: [] };
    let left = Number(count);

    function compare(body, status, answer)
    {
        const validate = schema[body.type];
        const valid = body.json !== undefined && validate(body.json);
        const verdict = status === 202 ? 'taken' : 'refused';

        result[verdict]++;

        for (const [by, name] of [['types', body.type],
                                  ...body.broken.map((b) => ['broken', b])])
        {
            result[by][name] ??= { taken: 0, refused: 0 };
            result[by][name][verdict]++;
        }

        if (status !== (valid ? 202 : 400)) {
            result.differences.push({
                body: body.text, status, answer,
                ajv: valid ? 'valid' : validate.errors ?? 'not JSON',
            });
        }
    }

    async function client()
    {
        while (left > 0 && result.differences.length < 20) {
            const n = below(8) ? 1 : 1 + below(Math.min(left, 5));
            const bodies = Array.from({ length: n },
                                      () => randomBody(pick(types)));

            left -= n;

            const answer = await request('POST', '', n === 1 ? bodies[0].text
                : `[${bodies.map((body) => body.text).join()}]`);

            if (n === 1) {
                compare(bodies[0], answer.status, answer.text);

            } else if (answer.status === 200) {
                JSON.parse(answer.text).forEach((item, i) =>
                    compare(bodies[i], item.status, JSON.stringify(item)));

            } else {
                /* one that cannot be read spoils the others, but only then */

                for (const body of bodies) {
                    const own = await request('POST', '', body.text);

                    compare(body, own.status, own.text);
                    body.read = !/the body (cannot be read|is empty)/
                                 .test(own.text);
                }

                if (bodies.every((body) => body.read)) {
                    result.differences.push({ bodies, answer: answer.text });
                }
            }
        }
    }

    await Promise.all(Array.from({ length: CONNECTIONS }, client));
    agent.destroy();

    return result;
}


const types = [...worked, ...Array.from({ length: RANDOM_TYPES },
                                        (_, n) => randomType(n))];

if (verb === 'types') {
    process.stdout.write(types.map(typeText).join(''));

} else {
    console.log(JSON.stringify(await judge(types)));
}
