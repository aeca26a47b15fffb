"""Words too common to be searched for."""

from __future__ import annotations

COMMON_WORDS = frozenset(
    b"access account action active address amazonaws another application assets attachment author avatar "
    b"aws4 aws4_request central east north northeast northwest south southeast southwest west "
    b"avatars backend before branch browser bucket button calendar change channel channels checks client "
    b"comment comments commit commits company config connect contact content contents context council "
    b"create created custom customer customers dashboard database default delete deploy deployment "
    b"description detail details development device direct domain donotreply download edited engine "
    b"english enterprise environment errors events example external failed fastmail feature filter "
    b"follow follower followers following footer format function gateway github githubusercontent gitlab "
    b"global gmail google googlemail gravatar groups handler header health history hotmail icloud images "
    b"import integration internal invoice issues latest library license limited linear live localdomain "
    b"localhost location logout machine manage manager master member members message messages method "
    b"metrics mobile module monitor network nobody noreply notice notification notifications number "
    b"object office option options orders organization organizations outlook output package packages "
    b"parent password payload payment payments people person personal photos picture please policy "
    b"preview primary private process product production products profile profiles project projects "
    b"protected proton protonmail provider public publish random readme received record release releases "
    b"remote report reports repository request requests resource response result results review reviews "
    b"router sandbox schedule script search secret secrets secure security server service services "
    b"session sessions setting settings shared signature simple single source staging standard starred "
    b"static status storage stream string stripe subject submit subscription subscriptions success "
    b"support system target template terminal testing ticket tickets tokens tracker trigger unknown "
    b"update updated upload upstream username users version webhook webhooks website widget window "
    b"worker workflow workflows workspace yahoo yandex".split()
)
"""
Words of the trade. An original that is one of them is counted and not searched: a user called
`github` was replaced, and that `api.github.com` is still there says nothing of that user.
"""
