"""The pronouncing dictionary: as a general one has it, with the sounds that eSpeak NG gives a word.

It knows the words of the general sentences, their inflections, and the plain English words of a
bank, which no general sentence has; it lacks acronyms, products, surnames and the bank's own words
(UNLISTED), which `neve g2p` or the bank's list pronounces.
"""

import bank
import general
from synth.pronounce import pronounce

# The bank's own words: no general dictionary has them. Those of bank.SPOKEN are not in it either.
UNLISTED = """overdraft chargeback refinance escrow annuity brokerage amortization foreclosure
    collateral trustee underwriting rebalance prepayment beneficiary liquidity"""

# Further words of the dictionary, for what they teach of spelling and sound.
FURTHER = """able about above accept acceptable accident accordance accurate achieve across action
active actual addition address admit adventure advice affection afford afternoon agency agreement
alliance allowance although ambition amount analysis ancestor animation announce annual antique
anxiety apology appliance application appoint appraise appreciation approach approval argument
arrange arrival article ashore assemble assistance association assure atlas attach attempt
attendance attention attitude attract audience audition author authority automatic autumn available
average avoid award aware backdraft balance bargain beneath benefit betray between beyond biology
blame blanket blossom border boundary breath brilliance broker budget building bundle burden
business cabinet calculate calculation capacity captivity caretaker celebration century certain
challenge chamber channel chapter character charity circulation citizen civilization clarity
classical closure clothing coastal coincidence collection college comfort commercial commission
committee communication community companion compartment competition composition conclusion
condition conference confidence connection consequence consider constitution construction consumer
container content contribution convenient conversation cooperate corner correction courage court
creation creature credential crisis criticism cruelty cultural curiosity currency curve custody
customer cylinder daily damage danger daylight debate decision declaration decorate definition
delivery demand density departure dependence depth description designer destination detail
determination development devotion diagram dignity dimension disappear discipline discovery
discussion disease distance distribution district division document domestic drama drawing
duration dynasty earnest economy edition education efficiency elementary elevator emergency emotion
emphasis employee enclosure encounter encourage energy enjoy entertain enthusiasm entrance
environment equality equal equation equip equivalent escape establish estimate eternity evidence
evolution exactly example exception exchange excitement exercise existence expansion expedition
expense experience experiment explanation explosion expression extension extreme facility faculty
failure faithful familiar fashion favour feature federal fertility festival fiction figure finance
financial fiscal flexible fluid foreman forecast foreclose formal fortune foundation fragment
freedom frequency frontier fulfil function furniture futility galaxy generation generosity genius
gradual graduate grammar gratitude gravity guarantee guardian guidance habit harmony hesitate
heritage hesitation history holiday horizon hospitality human humidity identity illness
illustration imagination imitation immediate importance impression improvement incident income
independence industry infancy influence information inheritance initial injury innocence inquiry
instance institution instruction instrument insurance intelligence intention interest interior
interview introduction invention investigation invitation irritation journal justice kingdom
knowledge language latitude leader legend leisure liberty licence likelihood limitation liquid
literature locality longitude luxury machine magazine majority management manufacture margin
marriage material maturity maximum meaning medal member memory mention merchant message method
military mineral minimum minister ministry minority minute miracle missing mission mixture
mobility moderate modest moisture moment monetary money monster motion movement multiplication
mutual mystery narration nation national native natural navigation necessity negotiation
neighbourhood normal nursery obedience objection observation occasion occupation official offspring
opening operation opinion opportunity opposition option orchestra ordinary organization origin
outline overcoat overlook overtake oxygen package paragraph parliament participation particle
partner passage passenger patience pattern payment penalty pension percentage perception
performance permission personality perspective petition phenomenon physician pioneer pleasure
policy pollution popularity population portable position possession possibility postage poverty
practical preparation presence preservation pressure prevention principal principle privacy
privilege probability procedure process procession production profession profit programme progress
prohibition project pronunciation property proportion proposal prosperity protection province
provision publication punishment purchase purpose quality quantity quarrel question radiation
reaction reality realization reason recall receipt reception recession recognition recommendation
recreation reduction reference reflection refuge refusal region registration regulation relation
relationship relative reliance reluctance remark remedy renovation replacement representation
republic reputation request rescue reservation residence resistance resolution resource response
responsibility restoration result retirement revenue revolution reward rhythm ridicule sanctuary
satisfaction scenery schedule scholar scripture security selection sensation sentence separation
sequence series service settlement shelter signature significance similarity situation society
solution source speciality species spectacle stability standard statement station statue strategy
structure struggle style substance suburb success suggestion summary supply support surface surgery
surplus surprise survival suspicion symbol sympathy symphony system talent technique temperature
tendency tension territory testimony theory threshold tolerance tradition traffic tragedy transfer
transformation translation transmission transport treasure treatment treaty triumph trust tuition
twilight underline understanding undertake union unity universe utility vacation valid value
variation variety vegetable vehicle velocity venture verdict version victim victory violence virtue
vision visitor vocabulary volume voluntary volunteer voyage warning wealth weapon welfare wisdom
withdraw witness wonder workman yearly zone account bank bond card cash check cost credit debit
debt deposit dollar draft equity fee fund gain hedge index invest lease loan market mature mortgage
owe own pay plan portfolio prime quarter rate save score stock tax treasury wage wire yield"""


def entries():
    """[(word, phones)] of the dictionary, by word; a word may have several."""
    theirs = set(bank.vocabulary()) - set(UNLISTED.upper().split()) - set(bank.SPOKEN)
    theirs -= {name.strip() for text in bank.SURNAMES.values() for name in text.upper().split("|")}
    words = set(general.vocabulary()) | set(FURTHER.upper().split()) | theirs
    words |= {form for word in words for form in inflections(word)}
    words -= set(UNLISTED.upper().split())
    return pronounce(sorted(words), also_before=("dog", "apple"), longest=5)


def inflections(word):
    """Plain inflections of a word of more than four letters that takes them without a change."""
    if len(word) < 5 or not word.isalpha() or word[-1] in "SXZHEYIOUA":
        return []
    return [word + "S", word + "ING"] if word[-2] in "CKLNRST" else [word + "S"]
