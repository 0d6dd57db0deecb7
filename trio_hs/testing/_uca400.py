"""The weights of ``utf8mb4_unicode_ci``: as in ``_uca1400``, by an older table of Unicode, and for its first 65,536 characters.

``scripts/uca_weights.py`` writes ``_PACKED``, and tests/trio_hs/testing/test_collation.py compares all weights with a server.
"""

from __future__ import annotations

import unicodedata
from functools import cache

from ._uca1400 import DECOMPOSED, unpacked

#: Characters from here on are equal to one another.
END = 0x10000
_BEYOND = (0xFFFD,)


def implicit(code: int) -> tuple[int, ...]:
    """The weights of a character that is not in the table."""
    base = 0xFB40 if 0x4E00 <= code <= 0x9FA5 else 0xFB80 if 0x3400 <= code <= 0x4DB5 else 0xFBC0
    return base + (code >> 15), code & 0x7FFF | 0x8000


def weights(code: int) -> tuple[int, ...]:
    """The weights of a character."""
    if code >= END:
        return _BEYOND
    found = _table().get(code)
    if found is None:
        return implicit(code)
    if found == (DECOMPOSED,):
        return tuple(each for part in unicodedata.normalize("NFKD", chr(code)) for each in weights(ord(part)))
    return found


@cache
def _table() -> dict[int, tuple[int, ...]]:
    return unpacked(_PACKED)


_PACKED = (
    "c-rk<33L?4nXdn@QctNZjam~S#$y{MLXm|ekgVXq3T1-;lZ4>J3C3}Fjvul2#d&5~y!P`hyN}(6kqnW<X(R*&8ytg;vCScY0D;9JZrC8>#DHzYP0S@BkOK"
    "lcv)w&c&wc0w_czns)ph)J{q@&h|4dicZvlcjbVQ5+dK0LK^Ys!@<PLAf{3Kx!kdGv;*gaZ=btV}Bjb1*(!%P=RS(#5Rfl|7?%^`S32{*aDIE#eE?2zuLk"
    "<u2vkh|-dh!ZW1X+w7Ye0ZSvDel?{eiCbH&$yPn8aYX{2l`ECbfy$T&{aPIb469yi+M4KMbil^P={y;dKAi@K(KmxTEnloCqb^bOsLjf^k_=v2v;3k5use"
    "U<8E@ICPI=mSgQr8r^cIUq^Bdkgh`rWrA1Co@M>rYB^EVBt$Y_8^)~sX<^~Tn44I>dT=bl((o{x?5<%ynQA(anFlw1X&R6g(J##dkqd<aY436kDQDh8VMH"
    "YER!ZYEeV9ta*Xi;WCShY<KTkLh51`*dyX!z~rHfk&?qYA$6NYX`0n}w-`geDsGhzT-8@FyL?Ll)GbqqC6|EReT%ZdN~o&K!QhEMCc32M-#-k2Ej_k{rek"
    "DugNQn5!V%&eYC?B9E*+j)t0+r^a<6|E}!LgRA2d4r3606(Znm!8K<x7U`lf@_Ci{p~(DZ#oF22;+27<ZNnfnOZD;j=fIJ(+D~PV*z}<*4?5a}ap6T9&_3"
    "+0qwByrBNJbl+6%XVBX^-~rBi1rr$ITIX^DrGcWReR>^gMZ={O(X`NHS!RDgcajxwiXnqKIfh6r~_*|CB-+$Man{mELoL0{iF`FAy@KG#+Pd-Z8VhYlUx0"
    "#W`D&{D5AT_-71A87T2xZo2rWA2~eI|ak_uI)UebO{swO3Pw`pCW~!z%u_{VmHz#g*#ib<(eLLow-NrtAD2<PJja91L#;dG9dwBb47K!Y&O-YT<nMYqVcd"
    "_0Yik_yaB#mp1$5Wx`LbzL|d3t?I9YVZv%P7@SDIEka(cngQW3_1%7hq7*=qxu1AJpCJq&sv=KI&@(l#fqS(KoDiErE+6JdVBH8=M=EWNA&__|wYm>+b)z"
    "{kaj^aW88ArrEphz<y!5Q67G2$i*E}DsxZQ8Bgw$M!h;1J&-%MK)x%C&tG3OAk2W86C1(YI^?2Xur5B)&tqtyQph74eb_S~`&zGeAqUrRIL>9$|*<+VSDj"
    "gLZDX_AOwCD{0Ybb#3fT?{P0HRsrUtp!Fvng2(3J@Hz#U>l`x9olV3<NH<|*9XfRA(9sRySon5Bc&%<CP!8|#>8pz?;ANlkHR9NUT5-ZM@#yGUI82$EwPk"
    "=CZ=;>ZjeTg^{Iif_0K06aUfQYW`crG<3Sk@c)^mee&pfQPPWE(}?HtVPU}$Yjw_z^=yJY~|o4<v&E%XqK&SIpoCj_>vxcbA7{V-5sn^)&K&9rV)t>=9xt"
    "7#Nc$rgR;2<&}#F1nF?K@Y3CUD42WEgcxtr9(#th{aCSo4aRyg8yW1>wv!j+^uS}Pd9`kytF?i*|kjc)vf$}oENvw=K2QW3^gC`g0>rV*Ycoys3g(;L7)q"
    "kTROVSxYeOUhmLQZ8mz;^Kw(3Vzf3ys+gW)fcSvjaQ{X#RlecTdQ7jkQt5|-Bgt9)jMLF#fy(f@WJm7zB!{{<U|B>!Q@#16{a(Bul@Mvv-sp@~{`5YL#0&"
    "Zp9$TF;k6#U<9G0leiCN)4!Ki7c0kR5Z@fVkFh7LNAopJmB^N*XdCBgHb-lt0p9emo~{q{YO|TL=CTUWFTAe&EkJ0V8c5xL4RE92Ac61#q)Ji{V=zJRb8o"
    "p2q(<EWE)F;w5ZhwR8i&j2mDPd;!1PnY|d+_ubiV7W)Lr8DTMO=(}6KspI7DKvHjEDUvxr_!Zhnuh5$@<bn{#$%0t&K0C%p3g_gg;h|RyoR1{wl68b3pJe"
    "3hrE@8NtQE<dl;mur<a6X1oba)xJYphNk??eh)M54)IF55ZJ@&uJpavm<Y-T6uHb(wL$szW1jocWVr?#+<nS~EeFejKreiUXyPj3D3<(TV?r}4x|oJ;jo+"
    "(7S_?)#TMS*f`qS1@?E#NVSel;<U+=bE_b8#<q5aBdkQS=0F<aX0+LIxa(+fq!ItdF(Ait6>>`n=j_gke$=px>i^UC3Feg#2a{%T?T#u`Gx^(TlQ7qif~O"
    "36HFidz(dxq%fzZo)wP}>6MIT)G|zyvJly=Sw{ZST<{CH&v#<ug5iDOq3+#s?`IA-naP`0ggN-W&E6-X8=-LO>v6Trc@bS0HU-sa=$!5}<0I?D?5eRBNKY"
    "Z)^_1~ATFN)UO3@(iv`X5}{2p`AfaBfaDn^V)JocpC*t64Io4B~^NA#&?UW{IyALPR(e<3aE_vI0mt;Y1<^`QWb4RwP4YF9UfW$dSB@gGePKRY=OI8u~cN"
    "CX1C~D={9I6XubFl)Ob{CK)6LTjjG^_Wd;(C*SRbRz@=9C<$aYlD{I6xs}V|Pm%HRbuzKYF)gGPRLU(V%QyKti9AUb#t@N=l*5XE3?;vkiMP=3>|oOiunH"
    "gf`6}EvB&_(Sh7EjOCOxIV?L|=S2<I7l6S-7mb^#VrT*vTjme(*$dCG>Vdt=ANA;)C-BPv@zWATVNBP78h%Kl0Ck$WTC&Hc6`uEH5ZUxPOQczi0xOPF9vN"
    "Wlb@;@$gRbB%)|7o3muFs~=5j0VN~eOLvqB=R*j4)ORSHIHEO^@4*#%pdk}rCHHKG?v3*NG^Y*Hx5(1GOCsH8u^AWP`6$r4&q7+s2M&aS24~Q=h(eXc~Xi"
    "gm2~9z-S45bXBJ{2_CQOITz3I`lsPvtXDs@M)n<c<{T@$@!YSFVz^1JFk>OGH2)EOm$ezYCy<DD^z1Ua1u)pj&0NB)b)kwKsiD-(A;X(I(9IV+e?mPQ>yW"
    "H1$CBO?&*4k0$S3zRW;1TzhnuA~aZdeqV-^c0t6|hz}t?ilDMx{kqt~%F~haUrCb6?f@bw+E(#Ydy=Uk6@h$J~!KZs`*~IpaNkpK0v<8+M|P>uz^y8_V|+"
    "yWrj}YXA4z(^P+G^x@G_C!U!;CtY=HP2Z7@6{DACx`Hlc;o-+4BKAh#rG4>8y6e8aZ`$%PvaIs_{bCus#g@6+ahf~B1g9ghQ1)D}Na#w6pN?iB(KA)sfju"
    "yJ*Aq*hP=|czw3!my<yFnbC&GRF)v=k3Sm@T{O0#i?%GOV+`_?Lwc&<hJ{3P>vl9k~<8I2a<r(wmCU8{$l9{(+SWcfn6{@8Z(SUxImpz@G)&ei@-uLGJvI"
    "W1RjqPq&ef0hM!a6a7E_}pPA|HCOPc`n7i5%xEKSo5y|V}ATR9)6zSpn>Y*C<h<1o3K<<R!%?Vip05ga{8-ZgXj!E&e6aG`F5bmCJW-0@g^V-k`0OBmUin"
    "{+%`6>n3JN~62S+>zr|rC%6wXsb+z9C_gv*J@%5}K{N+;*;V&@tsg-!ry>shl{h1KQ1m#^RqI?nM?2LjSa)B{HM1d>w(N^GU98rytEC;9e7R4kX4u3jP5R"
    "zh(p8q9_w@8ANbiWYK%#WJ>a~33u-<j(WL4q_3#*Y}~cz=(w&2-PCMbIM+pBFg$uOfH_umt4A&7sKmop|@x&1hWg*7uA0hfcHpHz6X_WQaJxV#yVAYr&F|"
    "G4lRg>jTz%Vh7xZsd?gyd5BqZV8*}UICC5~9>vY^AF%1P7HZiWgGgMWVCN<hpR8&HukrW!MsTduK2TfaJ&N)gG6{u4fb}pJ%V8yz8|A*<|BjRH9e|k&@iY"
    "9P<rv<=(>^=wF3j*P?<P7+iFYJjU6yq+80uS3-z{jc%DfAV3NhRu#>U-ajF;lwc9aAl$E<oIMS>Eiou)jhH`y)dDG&Ib0Rqq3r}|6A&aBXkd)?fCex1|rZ"
    "U0;qyZN^oC+_L`GSvBhOUq(&$7em$g0u8F#)UOI4fEDP**duWCVc%S?5l$PRdApR4pzbcRl%RDpturBD&h7!@bx>ebvbNX4z^`5WjWkl2463OJxgHk68LZ"
    "ltXcx6CZC?H9GfR^nY?LojqAGb<=0;>eQCx^$0s&SJTdX)#2XWCPH3HQYr@~2{qouJC+9!;(U{sX>&H}&X?pDHW2HZu@uTDU4f*By^YcsdXXL+|xgztu)R"
    "n2q@$NcUu@3h2+23b*$~!3+dR^>wA^BqR+lk8(OZg05%uD!8m<88_W}!Czqxg5E<<c_gZArO0-DQdM5|v}Ve0+16{^K%z<r1BGi56a>MVDyPMSArjEj~v}"
    "&e7Rt=$tbi=X0OX^PkX72WZU!`pO<Ubq_7vLyPuM+b%j~H$A?KHtceox7X4gwRF!$x_2X8R81FG)Ag%q^=ewaiq2o<aXzt<o?J<9yiRYvPUlt7vI;u4g1%"
    "Nk3oB?*1zlTCE6eG=GP=Kv?kS^t%jnv<v~n&zKASeort4?Y>Y22nlrAWx=Zfk1V!ErC?k=Wv#dK#e-Cj(0IM17>(=F5KU#HPer_uKc>B>U7b}Fr$N{gq^k"
    "}0(KHkRDRx)$8of)&?s!F61J4XdwVYct+z##fthS~Fg0!p0^%)r6;;@OTq8G+|*A7B%7D8u80UJk*HwjkvE7_p9e)d$fw<tNow836+^;u%;kuUcp!H<wQv"
    "q7CSZ4cX5p@_OE5R-vv~fQ=P3WpXSLu`j>(}UrngV#6Jyn|5BxepLcR=BB__r!i^X3)9g*z`(J1SjUzAAWaH%m*E&i-k2lL`Us^ia828pN{KwF&gxCxc18"
    "EPYVa(t(X2h7dG4gt7JXaP*Dh+jW#ipSP+q%{C-$&`fOot8~-2umc8(q3vTMXyed3J`KWhdB4_Bs249b=!dI<}K-W!u<hwuNnCHLQxQV{2I@Tg|E#84wUY"
    "gJbIP1$?d^XW@)`oQ6~CaURa8$1P}e9ao{rb@X~5qwfybuDY*5GmQG#&mUFpcS4=ZPl=P2src5zA+TSs48z6vA;Vt~LK=t56Nd7C3MSudgk7*(J?c~<J7F"
    "_yk&o8l7yIM?1Gr;(iU"
)
