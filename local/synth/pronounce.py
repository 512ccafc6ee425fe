"""How eSpeak NG pronounces words: a lexicon for speech that it makes."""

import ctypes
import os
import re

from .speak import espeak_paths

_UTF8 = 1  # from speak_lib.h of eSpeak NG 1.52
_SYNCHRONOUS = 2
_IPA = 2 | ord("_") << 8  # phonemes in IPA with _ between them
_MARKS = re.compile(r"[ˈˌ‿\u0361\u200d]")  # stress and ties


def pronounce(words, voice="en-us", also_before=(), longest=5):
    """[(word, phones)] of the words, which are in upper case, as the voice says them.

    Phones are IPA symbols of eSpeak NG without stress.  Raises RuntimeError for a word that has no
    sound.

    Args:
        words: words; or several words that are one word, as letters are.
        voice: the voice's name.
        also_before: words; each adds the sound that the shorter words have before it, if that is
            another (the, a).
        longest: letters of these shorter words, at most.
    """
    library, data = espeak_paths()
    espeak = ctypes.CDLL(library)
    espeak.espeak_Initialize(_SYNCHRONOUS, 0, os.fsencode(data), 0)
    if espeak.espeak_SetVoiceByName(voice.encode()):
        raise RuntimeError(f"eSpeak NG has no voice {voice}")
    convert = espeak.espeak_TextToPhonemes
    convert.restype = ctypes.c_char_p
    convert.argtypes = [ctypes.POINTER(ctypes.c_char_p), ctypes.c_int, ctypes.c_int]
    endings = {word: _phones(convert, word) for word in also_before}
    entries = {}
    for word in words:
        entries[word, _phones(convert, word)] = None
        for after, ending in endings.items() if len(word) <= longest else ():
            phones = _phones(convert, f"{word} {after}")
            if phones[-len(ending):] == ending and len(phones) > len(ending):
                entries[word, phones[:-len(ending)]] = None
    return list(entries)


def _phones(convert, text):
    left, phones = ctypes.c_char_p(text.lower().encode()), []
    while left.value:
        said = convert(ctypes.byref(left), _UTF8, _IPA).decode()
        phones += [phone for phone in re.split(r"[_ ]+", _MARKS.sub("", said)) if phone]
    if not phones:
        raise RuntimeError(f"eSpeak NG does not pronounce {text!r}")
    return tuple(phones)
