# An ERC-20 token through "call … function=": balances exact; a transfer beyond
# the balance fails with the contract's reason, and costs nothing.

use strict;
use warnings;

use lib 't/lib';
use IntentTest qw(wait_for wei);
use Test::More;

my $t = IntentTest->new(workers => 2, chain => { poll_interval => '50ms' });

# the gateway's signer gets 1000 tokens

my $token = $t->deploy_token(from => $t->address(9));
$t->token_transfer($token, $t->address(9), $t->address(0), 1000);

is($t->token_balance($token, $t->address(0))->bstr, '1000', 'the signer has 1000 tokens');

my $recipient = $t->fresh_address;
my @ids = map {
    $t->post_intent('transfer', { recipient => $recipient, amount => "$_", token => $token })
      ->{intentId}
} 1 .. 10;

my @intents = map { $t->wait_intent($_, 'success') } @ids;

is($t->token_balance($token, $recipient)->bstr, '55', 'the recipient has the sum');
is($t->token_balance($token, $t->address(0))->bstr, '945', 'the signer has the rest');
is($t->balance($recipient)->bstr, '0', 'no ether went along');

my $intent = $intents[0];

like($intent->{txHash}, qr/^0x[0-9a-f]{64}$/, 'txHash');
cmp_ok($intent->{gasUsed}, '>', 21000, 'gasUsed is that of a contract call');
is($intent->{error}, undef, 'no error');
is($intent->{attempts}, 1, 'one attempt');

my $receipt = $t->rpc('eth_getTransactionReceipt', $intent->{txHash});
is($intent->{blockNumber}, hex $receipt->{blockNumber}, 'blockNumber is that of the receipt');
is($intent->{gasUsed}, hex $receipt->{gasUsed}, 'gasUsed too');
is($intent->{gasCost}, (wei(hex $receipt->{gasUsed}) * hex $receipt->{effectiveGasPrice})->bstr,
   'gasCost is gasUsed times the price paid');

# more than there is

my $nonce = $t->nonce($t->address(0));
my $balance = $t->balance($t->address(0));

$intent = $t->post_intent('transfer',
    { recipient => $recipient, amount => '946', token => $token });
$intent = $t->wait_intent($intent->{intentId}, 'failed');

like($intent->{error}, qr/^execution reverted: \S/, 'the reason is told');
diag("error: $intent->{error}");
is($intent->{message}, 'There was an issue with your transfer. Please try again.', 'message');
is($intent->{txHash}, undef, 'there is no transaction');
is($intent->{gasUsed}, undef, 'no gas was used');
is($intent->{version}, 3, 'it was pending, executing, failed');
is($t->nonce($t->address(0)), $nonce, 'the signer sent nothing');
is($t->balance($t->address(0))->bstr, $balance->bstr, 'and paid nothing');

# the lane goes on

$intent = $t->post_intent('transfer',
    { recipient => $recipient, amount => '945', token => $token });
$t->wait_intent($intent->{intentId}, 'success');
is($t->token_balance($token, $recipient)->bstr, '1000', 'the next one is carried out');

$t->nginx_quit;
$t->clean_ok;

done_testing;
