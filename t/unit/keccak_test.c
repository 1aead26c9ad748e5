
/*
 * Keccak-256 against published answers.
 */


#include "unit.h"
#include "evm_internal.h"


typedef struct {
    const char  *message;
    const char  *digest;
} keccak_vector_t;


/*
 * ShortMsgKAT_256.txt of the Keccak submission (KeccakKAT-3.zip,
 * https://keccak.team/obsolete/): Len 1080, 1088 and 1096, which are one byte
 * below, at and above the rate, and the longest in whole bytes, Len 2032.
 */

static const keccak_vector_t  keccak_kat[] = {
    { "2f3fb9e6321405869ff0e6271369357ee08c9c27837fe300adf3766a61979591"
      "d64e7809627e8f026e762982df5f00bfeb9ce76f1ccb70c9bee6331f7dc8b154"
      "17295d7aa7ec7c1662a69842059901f136e96052b4d01b72b64f92331744872f"
      "6de4a915d0262b33ccc375d25d77c3936023e514f30187a9501adc685e6497cc"
      "4841e119670d4d",
      "0484f02cc16415e7e9f28f95b6bb77209e1b25ec35015de84facbc8f9605b39e" },

    { "33d0c3052e3ac8c19beca6b0dfa73888f753655fb2c9f77e1238602c9f6d7ad3"
      "3e3dd96c78a22e148ed4c46d7cfdf674505bd40325cb813804e264a450de778f"
      "1c50fc94f32aa881fe6def7b6ae6efbb42c3be678f40a09322053773e3af0200"
      "00fe94f3283c7527aa64a2144b92cf8d568df4e6cd957af09ab1637e61667e61"
      "6412558d4fcab4f9",
      "b30ad6fc320c0d70309dc39953895cb7cf3fbedec7d86a5f7aa9f2bb760f6dba" },

    { "2f570e7aeadd07406bfc263992a0292c528daab4f32816573b6be58a36998465"
      "f192e0db70e81cdbe5431477e43ea437cb4eebbe760116b26dfb3ca395c10987"
      "53e962c3d27f9fb8c2b32fa6f1d3debd22c97b99cb924b388d87db2348e5aa9c"
      "cf0d60a18cff594eb389f5a55dd362809dde19687064a0feec7c213561cbd130"
      "d832d264312cb3e4b6",
      "6cf9e0e9008f6b5b2d28fb38c47a0212e7b28f6a7f44815f10c53141c2f1c84d" },

    { "481dd9182975f32bf7dca9850268ddee861e5d606097d955377dd069154fdd5d"
      "6cb776962c6ac223466ca849d486375aa495bb052d945a64122bce277aac85e7"
      "63fc7e906640b3adac5cf681e22edb87c4968cf12be7563d1225658cd2eb7436"
      "e7f2c64d337afbe0d6f161b81f3d40e4d4ccd500b32c3dc652a353248ec75a76"
      "ba21c4ed9bbfce71b0302ad06d6ab441378a41ebb77fb10923052db1cc882787"
      "a9ec7544ab43b55b74e02ce14ae123816b656c23e51e2c08235abaf0e2e2778c"
      "ceecd0793086d5a4660186b1e2aa334e0f9f72f4be9efce1f8b6d2db984a6766"
      "3738e068bfb50c25b793d79a3d0ae84caa5b4168f93e4af2f51ccd8e6734",
      "5b1b87b1feca95e702186c47dd2e0436788ac686207906106b6363ce7d697624" }
};


/* the empty one is the hash of an account without code */

static const keccak_vector_t  keccak_text[] = {
    { "",
      "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470" },
    { "abc",
      "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45" },
    { "The quick brown fox jumps over the lazy dog",
      "4d741b6f1eb29cb2a9b9911c82f56fa8d73b04959d3d9d222895df6c0b28aa15" }
};


static void
keccak_of_text(void **state)
{
    size_t   i;
    uint8_t  out[32];

    (void) state;

    for (i = 0; i < unit_count(keccak_text); i++) {
        evm_keccak256(keccak_text[i].message, strlen(keccak_text[i].message),
                      out);
        unit_assert_hex(out, 32, keccak_text[i].digest);
    }
}


static void
keccak_of_nothing_at_null(void **state)
{
    uint8_t  out[32];

    (void) state;

    evm_keccak256(NULL, 0, out);
    unit_assert_hex(out, 32, keccak_text[0].digest);
}


static void
keccak_around_the_rate(void **state)
{
    size_t   i, len;
    uint8_t  message[256], out[32], *exact;

    (void) state;

    for (i = 0; i < unit_count(keccak_kat); i++) {
        len = unit_hex(keccak_kat[i].message, message);
        exact = unit_exact(message, len);

        evm_keccak256(exact, len, out);
        unit_assert_hex(out, 32, keccak_kat[i].digest);

        free(exact);
    }
}


static void
keccak_in_pieces_is_the_same(void **state)
{
    size_t        i, j, len;
    uint8_t       message[256], out[32];
    evm_keccak_t  ctx;

    (void) state;

    for (i = 0; i < unit_count(keccak_kat); i++) {

        len = unit_hex(keccak_kat[i].message, message);

        for (j = 0; j <= len; j++) {
            evm_keccak_init(&ctx);
            evm_keccak_update(&ctx, message, j / 2);
            evm_keccak_update(&ctx, message + j / 2, j - j / 2);
            evm_keccak_update(&ctx, message + j, len - j);
            evm_keccak_final(&ctx, out);

            unit_assert_hex(out, 32, keccak_kat[i].digest);
        }
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(keccak_of_text),
        cmocka_unit_test(keccak_of_nothing_at_null),
        cmocka_unit_test(keccak_around_the_rate),
        cmocka_unit_test(keccak_in_pieces_is_the_same),
    };

    return cmocka_run_group_tests_name("keccak", tests, NULL, NULL);
}
