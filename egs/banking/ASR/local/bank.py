"""What callers and clerks of a bank say: templates, the bank's terms, its accounts and customers.

{SLOT} in a template is drawn from the list of that name; a comma is a short pause.  Test and dev
have templates, surnames and accounts of their own besides those of the training calls.
"""

import re

from general import LISTS, fill

# Terms whose recall is counted: what a general recogniser seldom has right, and a bank needs.
TERMS = """wire transfer|direct deposit|routing number|account number|apr|apy|portfolio|mortgage|
refinance|escrow|overdraft|overdraft fee|chargeback|credit score|credit limit|debit card|
credit card|certificate of deposit|money market account|mutual fund|index fund|etf|dividend|
brokerage account|capital gains|annuity|beneficiary|trustee|collateral|line of credit|
home equity loan|principal|amortization schedule|interest rate|bank statement|late fee|
minimum payment|balance transfer|cashier's check|stop payment|iban|ach|swift code|ira|fico|
underwriting|closing costs|down payment|preapproval|foreclosure|forbearance|liquidity|
asset allocation|rebalance|hedge fund|treasury bond|yield|maturity date|exchange rate|
standing order|cosigner|power of attorney|kyc|fraud alert|security code|pin|atm|
available balance|pending transaction|withdrawal|penalty|prime rate|prepayment|equity"""

# How acronyms and names of products are said, where letters to sound would guess wrong.
SPOKEN = {
    "APR": "eigh p r", "APY": "eigh p y", "ETF": "e t f", "IBAN": "eye ban", "ACH": "eigh c h",
    "IRA": "i r eigh", "FICO": "fike oh", "KYC": "k y c", "ATM": "eigh t m", "PIN": "pin",
    "FLEXSAVER": "flex saver", "SILVERLINE": "silver line", "CASHBUILDER": "cash builder",
    "HOMESTART": "home start", "NORTHGATE": "north gate", "TRAVELPLUS": "travel plus",
    "BLUEPEAK": "blue peak", "TRUSTWELL": "trust well", "PREAPPROVAL": "pre approval",
    "FORBEARANCE": "for bearance", "COSIGNER": "co signer",
}  # fmt: skip

ACCOUNTS = {
    "train": """everyday checking|flexsaver|silverline savings|cashbuilder rewards card|
        northgate brokerage|student checking|platinum credit card|homestart mortgage|
        retirement plus|business checking""",
    "held out": """travelplus card|bluepeak growth fund|trustwell annuity|premier savings|
        silverline brokerage|family checking""",
}
SURNAMES = {
    "train": """abernathy|alvarez|bancroft|beaumont|bergstrom|blackwood|callahan|castellano|
        chaudhary|coleman|crawford|delgado|donovan|eastwood|ellsworth|fairchild|ferguson|
        fitzgerald|gallagher|goldberg|gonzalez|gutierrez|hathaway|henderson|hernandez|hoffman|
        ingram|jefferson|kowalski|lancaster|lindqvist|macdonald|mckenzie|mendoza|montgomery|
        nakamura|ogilvie|okafor|pemberton|petrov|ramirez|rosenthal|sanderson|schneider|
        silverman|sullivan|thornton|underwood|vasquez|whitaker""",
    "held out": """applegate|barnaby|carmichael|davenport|everhart|galloway|harrington|jankowski|
        kensington|lombardi|mahoney|novak|osborne|prescott|quigley|rutherford|santiago|
        templeton|vanderbilt|winslow""",
}
FIRST_NAMES = LISTS["PERSON"] + """|angela|benjamin|charlotte|dominic|eleanor|fiona|gregory|
    harriet|isabel|jonathan|katherine|lawrence|margaret|nathaniel|patricia|quentin|rebecca|
    samuel|theresa|vincent"""

LISTS_OF_CALLS = {
    "DIGIT": "one|two|three|four|five|six|seven|eight|nine",
    "FIGURE": "{DIGIT}|zero|oh",
    "LAST4": "{FIGURE} {FIGURE} {FIGURE} {FIGURE}",
    "TEEN": """eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen""",
    "TENS": "twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety",
    "BELOW": "{TENS} {DIGIT}|{TEEN}|{TENS}|ten",
    "SUM": """{DIGIT} hundred|{DIGIT} hundred and {BELOW}|{DIGIT} thousand|
        {DIGIT} thousand {DIGIT} hundred|{BELOW} thousand|{DIGIT} hundred thousand|{BELOW}""",
    "AMOUNT": "{SUM} dollars|{SUM} dollars|{SUM} dollars and {BELOW} cents|a million dollars",
    "RATE": "{DIGIT} point {DIGIT} percent|{DIGIT} percent|{TEEN} point {DIGIT} percent",
    "MONTH": LISTS["MONTH"],
    "DAY": """first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|eleventh|twelfth|
        fifteenth|eighteenth|twentieth|twenty first|thirtieth""",
    "DATE": "{MONTH} {DAY}|the {DAY} of {MONTH}",
    "PERIOD": "{DIGIT} months|{DIGIT} years|fifteen years|thirty years|this quarter|last year",
    "FEE": "overdraft fee|late fee|wire transfer fee|prepayment penalty|foreign transaction fee",
    "FUND": "mutual fund|index fund|etf|hedge fund|treasury bond|certificate of deposit",
    "PAPER": """bank statement|amortization schedule|power of attorney|cashier's check|
        kyc form|preapproval letter|account number|routing number|swift code|iban""",
    "LOAN": "mortgage|home equity loan|line of credit|student loan|car loan|personal loan",
    "NUMBERS": "apr|apy|interest rate|exchange rate|prime rate|yield|fico score|credit score",
    "BLOCK": "debit card|credit card|atm card|security code|pin",
}

# Templates of the training calls, then those of dev and test alone.
TEMPLATES = """
I would like to make a wire transfer of {AMOUNT} to {NAME}
please send {AMOUNT} by ach from my {ACCOUNT} account
what is the {NUMBERS} on my {ACCOUNT} account
what is the {NUMBERS} for a {LOAN}
the {NUMBERS} went up to {RATE} in {MONTH}
your {ACCOUNT} account pays an apy of {RATE}
the apr on the balance transfer is {RATE} for {PERIOD}
I was charged an {FEE} of {AMOUNT} on {DATE}
can you waive the {FEE}, it was only {AMOUNT}
my {BLOCK} was stolen, please block it
I lost the {BLOCK} of my account ending in {LAST4}
the card ending in {LAST4} has a credit limit of {AMOUNT}
my name is {NAME}, and my account number ends in {LAST4}
this is {NAME}, I am calling about my {ACCOUNT}
thank you for calling, {NAME}, how can I help you with your {ACCOUNT}
I want to add {NAME} as a beneficiary of my {ACCOUNT}
{NAME} is the trustee, and {NAME} is the cosigner
we need the {PAPER} before {DATE}
could you mail me the {PAPER} for my {ACCOUNT}
I need a {PAPER} and a {PAPER}
I want to refinance my mortgage at {RATE}
the escrow account holds {AMOUNT} for taxes and insurance
the closing costs are {AMOUNT}, and the down payment is {AMOUNT}
we require collateral for a {LOAN} above {AMOUNT}
how much of the payment goes to the principal
the minimum payment of {AMOUNT} is due on {DATE}
move {AMOUNT} from checking into a {FUND}
my portfolio has a {FUND} and a {FUND}
I would like to rebalance my portfolio and buy a {FUND}
the dividend of {AMOUNT} was paid into your brokerage account
you owe tax on the capital gains of {AMOUNT}
the annuity pays {AMOUNT} every month
the maturity date of the {FUND} is {DATE}
can I open an ira or a money market account with {AMOUNT}
please set up a standing order of {AMOUNT} to {NAME}
I want a stop payment on check number {LAST4}
there is a pending transaction of {AMOUNT} that I did not make
we put a fraud alert on the account of {NAME}
the available balance is {AMOUNT}
my direct deposit of {AMOUNT} did not arrive on {DATE}
the atm did not give me the {AMOUNT} of my withdrawal
I want to file a chargeback for {AMOUNT}
underwriting will look at your fico score and your credit score
the bank started foreclosure after {PERIOD}
we can offer forbearance for {PERIOD}
the liquidity of a {FUND} is lower
your asset allocation has too much equity
the overdraft on your {ACCOUNT} account is {AMOUNT}
""".strip().splitlines()
HELD_OUT_TEMPLATES = """
hello, {NAME} speaking, why was there an {FEE} on my {ACCOUNT}
has the wire transfer from {NAME} arrived yet, it is {AMOUNT}
can you tell me the {NUMBERS} and the {NUMBERS} of the {ACCOUNT}
I think my {BLOCK} does not work at the atm
we wrote to you on {DATE} about the overdraft of {AMOUNT}
to refinance the {LOAN} we need the {PAPER} of {NAME}
is {AMOUNT} enough as a down payment for a mortgage
please sell the {FUND} in my portfolio and put {AMOUNT} into escrow
{NAME} asked for a line of credit of {AMOUNT} at an apr of {RATE}
the beneficiary of the annuity is {NAME}
after {DATE} the {FEE} is {AMOUNT}
the collateral for the {LOAN} is an ira with {AMOUNT}
my fico score was fine, so why did underwriting refuse the preapproval
with a {FUND} your asset allocation has more liquidity
could I get a direct deposit into the {ACCOUNT} ending in {LAST4}
the principal is {AMOUNT}, and the dividend is {AMOUNT}
""".strip().splitlines()


def _items(text):
    return [" ".join(item.split()) for item in text.split("|")]


def terms():
    """The terms, in upper case, each once."""
    return [term.upper() for term in _items(TERMS)]


def choices(*parts, names=True):
    """The lists for `fill`: with the accounts and surnames of `parts`, train or held out.

    names: whether {NAME} and {ACCOUNT} are drawn; otherwise they are the classes $NAME and
    $ACCOUNT.
    """
    lists = {name: _items(text) for name, text in LISTS_OF_CALLS.items()}
    lists["ACCOUNT"] = [a for part in parts for a in _items(ACCOUNTS[part])]
    surnames = [s for part in parts for s in _items(SURNAMES[part])]
    lists["NAME"] = [f"{first} {last}" for first in _items(FIRST_NAMES) for last in surnames]
    if not names:
        lists["ACCOUNT"], lists["NAME"] = ["$ACCOUNT"], ["$NAME"]
    return lists


def classes():
    """{class: phrases} for the graph, with all of the bank's customers and accounts."""
    parts = ("train", "held out")
    return {
        "account": [a.upper() for part in parts for a in _items(ACCOUNTS[part])],
        "name": ["$FIRST $LAST"],
        "first": [name.upper() for name in _items(FIRST_NAMES)],
        "last": [name.upper() for part in parts for name in _items(SURNAMES[part])],
    }


def call(rng, lists, templates):
    """A turn of a call, in upper case, with its commas."""
    return fill(rng.choice(templates), rng, lists).upper()


def vocabulary():
    """All words that calls may have."""
    parts = [TERMS, FIRST_NAMES, *LISTS_OF_CALLS.values(), *ACCOUNTS.values(), *SURNAMES.values()]
    text = " ".join([*TEMPLATES, *HELD_OUT_TEMPLATES, *parts])
    return sorted(set(re.sub(r"\{\w+\}|[|,]", " ", text).upper().split()))
