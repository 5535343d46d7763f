"""What an English or Chinese question asks for, as far as rules about its SQL need to know.

Each pattern finds wording of natural questions, and finds nothing when in doubt.
"""

import re

_MONTH = (
    r"(?:january|february|march|april|may|june|july|august|september|october|november|december"
    r"|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec)"
)
TIME_RANGE = re.compile(
    r"\b(?:in|since|before|after|during|until|by|from|between|of)\s+(?:the\s+)?(?:year\s+|years\s+)?(?:1[5-9]|20)\d\d\b"
    r"|\b\d{4}[-/]\d{1,2}[-/]\d{1,2}\b"
    rf"|\b(?:in|since|before|after|during|on|from|of)\s+{_MONTH}\b(?=\s+\d|\s*[,.?]|\s*$)"
    # "in the last year" is a time; "the last year" and "first and last year" are values that are asked for
    r"|(?:\b(?:in|over|during|within|for|since|from)\s+the\s+|(?<!\bthe\s)(?<!\band\s)(?<!\w))"
    r"(?:last|past|previous|this|current)\s+(?:\d+\s+|\w+\s+)?(?:day|week|month|quarter|year)s?\b"
    r"|\b(?:today|yesterday)\b"
    r"|(?:1[5-9]|20)\d\d\s*年|\d{1,2}\s*月份?(?:以?[前后]|之[前后])|最近|近\s*[一二三四五六七八九十\d]+\s*(?:天|周|个月|年)"
    r"|上个?(?:月|周|季度)|去年|今年|本月|本周|昨天|今天|截至",
    re.IGNORECASE,
)
"""Restrictions to a time: a year, a date, last month, 去年."""
YEAR = re.compile(r"(?<!\d)(?:1[5-9]|20)\d\d(?!\d)")
"""Four-digit years."""
ORDER = re.compile(
    r"\b(?:order|ordered|ordering|sort|sorted|sorting|ascending\w*|descending\w*|listed\s+by|alphabetical\w*|lexicographical\w*|rank\w*"
    r"|chronological\w*|in\s+(?:increasing|decreasing|reverse)\s+order|starting\s+with|beginning\s+with)\b"
    r"|\bfrom\s+(?:the\s+)?\w+(?:\s+\w+)?\s+to\s+(?:the\s+)?\w+\b"
    r"|\b\w+est\s+(?:\w+\s+){0,2}(?:first|last)\b"
    r"|排序|排列|升序|降序|顺序|从[高低大小多少早晚新旧老近远]+到|按.{1,12}排",
    re.IGNORECASE,
)
"""Requests for an order of the results, which make ORDER BY without LIMIT right."""
CONDITION = re.compile(
    r"\b(?:whose|older\s+than|younger\s+than|(?:more|less|greater|higher|lower|larger|smaller|fewer|longer|shorter|bigger"
    r"|later|earlier)\s+than|at\s+least(?!\s+(?:one|1|a|an)\b)|at\s+most|equals?\s+to|named|called|containing|contains)\b"
    r"|(?<!\w)['\"“‘「][^'\"”’」]{1,40}['\"”’」](?!\w)"
    r"|大于|小于|高于|低于|超过|不超过|不低于|不高于|等于|至少|至多|名为|叫做|包含|以前的|以后的",
    re.IGNORECASE,
)
"""Wording that says which rows are meant: a quoted value, a comparison, "whose"."""
SEVERAL_STEPS = re.compile(
    r"\b(?:but\s+(?:not|do\s+not|does\s+not|no)|do(?:es)?\s+not\s+have|never|have\s+no|has\s+no|without\s+any|both\b.+\band|"
    r"either\b.+\bor|(?:above|below|than|over|exceeds?)\s+(?:the\s+)?average|equals?\s+the\s+(?:highest|lowest|maximum|minimum))\b"
    r"|既.+又|没有任何|从未|从来没有|(?:高|低|大|小|多|少)于平均|平均[^，。]{0,6}(?:以上|以下)|但(?:不|没)",
    re.IGNORECASE,
)
"""Wording that calls for a nested query or a set operation."""
