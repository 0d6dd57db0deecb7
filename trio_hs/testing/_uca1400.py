"""The weights of ``utf8mb4_uca1400_ai_ci``, the default collation of utf8mb4 since MariaDB 11.5.

A character has one weight, several (``ß`` has those of ``ss``) or none (accents and control characters do not count). MariaDB
10.11 and 11.8 give the same ones. ``scripts/uca_weights.py`` writes ``_PACKED`` from a server's ``WEIGHT_STRING``, and
tests/trio_hs/testing/test_collation.py compares all of them with a server.
"""

from __future__ import annotations

import base64
import unicodedata
import zlib
from functools import cache
from itertools import accumulate

#: In place of a number of weights: the weights are those of the characters into which Unicode decomposes this one.
DECOMPOSED = 255

# Scripts whose weights come from the place in a block: (first, end, the first weight, where counting begins).
_BLOCKS = (
    (0x17000, 0x18B00, 0xFB00, 0x17000),  # Tangut
    (0x18D00, 0x18D80, 0xFB00, 0x17000),
    (0x1B170, 0x1B300, 0xFB01, 0x1B170),  # Nushu
    (0x18B00, 0x18D00, 0xFB02, 0x18B00),  # Khitan
)
# Ideographs, by the base of their first weight. All other characters have the last base.
_IDEOGRAPHS = (
    (0x4E00, 0xA000, 0xFB40),
    (0x3400, 0x4DC0, 0xFB80),
    (0x20000, 0x2A6E0, 0xFB80),
    (0x2A700, 0x2B739, 0xFB80),
    (0x2B740, 0x2B81E, 0xFB80),
    (0x2B820, 0x2CEA2, 0xFB80),
    (0x2CEB0, 0x2EBE1, 0xFB80),
    (0x30000, 0x3134B, 0xFB80),
    (0, 0x110000, 0xFBC0),
)


def implicit(code: int) -> tuple[int, ...]:
    """The weights of a character that is not in the table."""
    for first, end, weight, origin in _BLOCKS:
        if first <= code < end:
            return weight, code - origin | 0x8000
    base = next(base for first, end, base in _IDEOGRAPHS if first <= code < end)
    return base + (code >> 15), code & 0x7FFF | 0x8000


def weights(code: int) -> tuple[int, ...]:
    """The weights of a character."""
    found = _table().get(code)
    if found is None:
        return implicit(code)
    if found == (DECOMPOSED,):
        return tuple(each for part in unicodedata.normalize("NFKD", chr(code)) for each in weights(ord(part)))
    return found


@cache
def _table() -> dict[int, tuple[int, ...]]:
    return unpacked(_PACKED)


def unpacked(packed: str) -> dict[int, tuple[int, ...]]:
    """The weights of the characters that have no implicit ones. Packed are how many there are, the gaps between them, their
    numbers of weights, and the differences between these weights, as numbers of 7 bits a byte."""
    data = zlib.decompress(base64.b85decode(packed))
    position = 0

    def signed() -> int:
        nonlocal position
        number = shift = 0
        while True:
            byte = data[position]
            position += 1
            number |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return number // 2 if number % 2 == 0 else -(number + 1) // 2

    codes = list(accumulate(signed() for _ in range(signed())))
    lengths = data[position : position + len(codes)]
    position += len(codes)
    table: dict[int, tuple[int, ...]] = {}
    weight = 0
    for code, length in zip(codes, lengths, strict=True):
        if length == DECOMPOSED:
            table[code] = (DECOMPOSED,)
            continue
        found = tuple(accumulate((signed() for _ in range(length)), initial=weight))
        table[code], weight = found[1:], found[-1]
    return table


_PACKED = (
    "c-rkf2Vhl2wsX$Rn|E{b5+2V-jM)I88X=ZNR#CH{EbHRRs_R-<7grZ|EhqvOVAcI50TLmRP7+$^RY)Kdr5kz^P`Xs5w?G7?O8(r}d&_%CfP3J+d+(GpGiT"
    "16Ip@sW$+ZkdPz4oKsBGY-U)lV^n1>WhB~tYP7DT58$p#_zv%!0mnXBT}UJKJ`;+0XsI+a*I9yo2dL!{0hiDPd;hT>kxZ;5A;BfZUu4YE0w`;`i^ALOQg<"
    "}NZNmGnxe-ZgogLmxA5{q2C$scz;BJjtcPdN*|3e`Vchp;s#Ig&1*`oRS%Zq)d~N@+P^;I!g*3>v0h2Tq?r?lMvh`i{3;A?o?I1H%xxZV4jPJH8;c|Sz=("
    "A{je%?R5t<;93Bgj{K-~kK`6=2YE7(Ti3uSOIoVfaJ4<oi=);%~S!jvmPNA(Uaq5x7hl=@lZFh5sUL8jjs%+Nd4g-pZkTGQJEDW`-xXtDrB(E`%QH*%yX{"
    "Rcv5DG|<LhM=dGI~kvDLlbV-${rlDYyq|5L?L-!z<y?ui_js#09RdIBG$%6dYxPad*gpkX;H>Z%0CF<mi`~{8ZrIRXED4!n0`zU-P8O8GSsY%Ii=C6)K`B"
    "I;Ulfu?R>yUq-40BlB1kt5hMv0&6D=N<1W0I6)<XtPUO(svk7BKc=YEP(cM1R8T>MfOK+oZ&3sxC=)#NwJg2YEh9#!P7eB3Meum#b8Es)$$t-o(R_;x>3O"
    "vqh>>M|R`tBAO8lD}GTx{tg0(6URZu~NY5^fGvKdv%MGTtUp!GJ~JYAr(>{M+Qj)4_hrSx>fQWf6~#79E>_*cH=Aku~|_;_WTTD}-E&Y>dQv9e)sJ5=rRq"
    "@B2>g%G9+_UjGmR8u8=7-@LQ!Eo349{-G4KbNU0sIPLyt;W;()&VCCVZvsfgXD_N0O2ItjqN0p+~!$sQ)HOKRLld?Hazwh^TlV6SEXJY+(a9xZRyS%!Cnn"
    "2Z)SLFoK!)r$>@*ZLG(>U)m`WMzHo!c-q@g9RxuSa6uT_mdsi?IgWg+`&s3c?3|5=7!DKb60-uy@DRUtB`HZ2&!)lRw=g*Fw%J3^ud`LiDMyUKJhedm`*P"
    "i+RaKm1t-t8eoXdQfGLvxf$A!?o8J6DgkrOfeR6Cz!M&ypB|z8o6&<0clgrtCc>#{vkt2L9k4e>SW~XcCGd5sm>Hi4x<u|85V-ZOKCImq;&dFhA-+@RNbn"
    "lV$Q*d;j920^VPp6O!N#B4G}Kiz|nR=$youNz~;>oZv0PJ-OnhNcs%IV&lbo?)v1A5!%tb8*l@?2$BmGY1sM*sKM5KKAd~A!rj=4dz2deAte3AA$5ze^J>"
    "^2F<giShW3FO^QgdwWXbaY3K$B3@q$aq4#^EJgC{^t)@1fcu+(e5b0K`lmWV2-ph7i-O_l89VV)Jx8xKa@75Oq$xv7E*Dg>*p4s4|oLxqaNg-mq?NQIC<A"
    "E;#=_Pu`0#Rm3mk;jFl%sAK5J(|xR)=Pej;8w?tVH~`2*!aM_s27jd%K<$vN2}l&Iv_R_x8h3NvG2sOl6#+8y;=*O2nwwiUu9K%=JC-j$x3k*>ZcnB!gGw"
    "!d{2Q9`pn$xAQ%`~o1vm;xOsif5g!ZJ2?UNOJqLi(wlK-0ur^YKn@TpQG*UqY?~vp{bdIm-JI_k$MdETNMSlhjrXrG;K_z2`#&^z!p=-X&Z*!bXSVU&c>L"
    "s0?3nOmX;b~$xPA?u&A!9a^`tCH*!QA<;_%IeLn-0k}MVZdaW!zc)VCeMsXP5`$$@AZ?>4XI=Bw9ue5`3~oDBK@+Lyd*^d_^XP(plDnyymMDi3%#*e4z8C"
    "rASp!p@^M(=jg+glfp1Fxo%SnCWmKDra)b&iZnxU8(&+P+ZdqEu5-}`Vx9Z68XoQwqIz%tJAD1mX;t=7!7HrIYu_@$MP%G+G$mF51&A9!WWiDh@e1X(q~g"
    "g`oAPqy(R4Fk0<hc)mH;r{0sX|6y8^feIfsG^9$S?40kJ$ltX2dzKz9PUr0|%b+$(Z#rTfU^k_tSOU@94*vcSfxPBjTIv%j>Yf>2(r{Pzj&b#l1-ZI8d^n"
    "qsLX74?zI+?lox1>0NT#PmhxK=3(5R7}9QjSDNgIy1O4>$+vDQYa6B13{6MrvE+=Gt*dcC9gA<07SE&LE<sJb(n^QJmnrJW^aO}5|&5*ts#NTM1c+9Dh8K"
    "|`Kq9qLZLP&xVDEvu+Rl>Fhfkam%FpIb2S`<ahM6?QYQM7xPg<f+@=*d%6aGR55Bry$>fU*Lqkk_h-4DZ;SxeNkGe>hIKo>ISOI46t4Bc~!r5jPK(&Pk$Y"
    "ocA3R9v7LE=x|n&uf|OI7Za-{r>>ZU>?5Qc%#SNH~dOexPszLOH0QLRiOv3M!~j`GA$^bqZJ}_%dl6CgFh0&s(rZtF5HPD$sUl_$+KUbJ^K;4u#!F2(|W9"
    "<I3q>Qtc2`+~MQN2|{cn4VJDh3n1>R1m)m+dB91_#sG@*500|a+D5-(-^m|eeZk`Ti4eG~kK7R8yaeLo#nqMX^kQa{a?cEI;SSr9p^HiA&c~L!+d5C+z3j"
    "*C3}8*kX>rp!IBknrmZ51Go{lM9S0&BDIe0$x)C5m{x^n*lCRB^P+&gxwi__MhE}6?cE*?1N1qT{AuXH-U`x9tEx2@c9O|>F!4b`s^#I#a5fKE%*7N@HUD"
    "paKz<MT-c6)IC!SKgd(Q?*BhYOEpAs`6V^N?DaQSNPtiS{{MDujMx<xC^L2`q0r!XSONP-E#8u&w8_4WVZj_WTs`aO@y%9oCnp$i14(5wwjtjA&w0wSE1S"
    "rdKFYqK?N05sE86?5!1xc67pvhMPl{}))2F|))xi*hg8Bu>{Y$3lvVX`6hhn$kFb1i5hn9Hj9VjadLWh9bi1A_MqPPTx4YV!a5o7kJ|Cx#X|3-!w&#XabG"
    "y-z-X51W9X$k*b)%VQgAn`?;i^`I8LhfV0Ec2F`;Hlpn_oyE+hVNBiJx&`%5VKwUKM1pvKA@7DFK}NO*L++s|I!BEeffif(nuH!KiBhH;U*EY*wwp$yc5B"
    "tB^NH6?Z6lubF>OTj=$#io*lE7wNVWyxdJ+A^|H-mDe&7&eAL&fJM#)NFu3wdj5togp)^z-|;{qI`Bz&_?(1u(2z)uNeCPNRx|sCkZNORg?sFUJ_ZOx>>K"
    "9l=Dw)3`c!N&j8t9eDyX1>3M#0ef(j~BiI#ec9xJ4R3M!}&oTv;{z^de{5aCrK+yuQ?;XkCIDl0b?I33O9?aZqHC8%49%HQr#UHDSn7OsK{>ZjZ)+yZW!;"
    "Ps}^wJn$FjrgdG`?ex9|6rs}iwRXTB*7MPEAv}5Lv@qtOt+BkZ)<Kv&yMj~lJBZm&W>UXDIyh@@)w3FWt0I@E>TJ&!Z_+Arh*D8sGx!hx01r6f(m{PG*BU"
    "IkRd7hy|ffEXd#~NcA}eh9yY`@+!9?@^X}vD6Z`Q!+j$j7dPZ-oiFi!kPm}R}^X4fny4QK?ffmh@yVhy<YLmtp@NAn`8ye$N%F>`8X5n<69(_&T^{)4XXV"
    "T#Nn4K|uV@eFGA-@OHNE2Q^8@-bK#AZexj+u>D*>#wxnWCM;=CCW$GTw*w>$wpgT=M3X&b|4!l%z+Aw`Ff$6K~6+$p|DZb67eRjoJt#wwI>2rk7^0M21Hh"
    "B(hjX#_@|9(pZwoV)?~6QL@~gG>=Pqu10&(tZk-d8I!u6qGS{!ZPPU50F7-X5$S{Ymq;CQpG<Tu;>Z&E*MqblNRl*CmkZ?4iBTVtb($a8Q4KlF$OhhX6Fs"
    "0AKwp`xy=#*8O)`Rg&z{Jnp8+|dI~n!*f+(^L$#O~>D?cUCk}hRDKdY%DwZAQ~W`a%{iu0hhF8Q_3q|032L|=P6==5=eHM%m^*jO(U?r+)r8CfSwvhHuM*"
    "N;EMt}yBG+nPTbA8Xv8xu9t+8SA`Ir+$jOC*~LUXX7+@z;F^zYNS=VgYp4+MD+0J%;;74*Jtl)vO!u1X>0@Juxxgn&p>G(m9qZJ2EVs0>f5LtQTkf(mp^t"
    "oqGazoxaS>l=lCaNyk=}`d(`BQCw%OBqRFPt8zCQ0<62r2l`;aq!V$O)CPIs$l(Z%b{`b=-MAsNtqjCS!UHJr&p~RG5<*%)y%uSrgo^}f-=7`_cPGGeY5="
    "aB0P_aH~Lu7)4lUQ*{WE%A8zPvlRlgJ#{X-G^-HoVa8-Hot76E8{0NqS>)f}we1!vp#RgP~4+>8ZGua;z*RNV?(NPl6>H8?w%17La67nvq0_OS1gijpPNQ"
    "6+u&g{Q7C`|B+dYe2HWT6>)mfPSjYiL6S(JC9e|$Ng-P(nLq`C1d*VbpiG=d_6q4F-ZnxX4Y`N3B{j%GB;O#J%g%6-Z!(a>K-QrMKc}GGNkzL`2n3lx{!A"
    "VhxJr-=1c9eFko`!q82OQrLrkP-BMKDRPXXBqq&Fk`kj&CD4~IFshfT`?9LYZ&2>to4Y=D3=)hineZ=}WGwzsc#6|ZA+9FBt{%722^U%WjEm2Vv-LW)GP<"
    "1*Wz$>Z#Jw~;+@qYjI7Q*k(U%*=yTRN+8LVo8XGI5c9SkWogI#lM%BV9zBGAA6r(iqj=xpSrfv4!t*p<6yp{KU{|)2vQ75{7o($Mhoa@I+vb7Y?O?5Ho5c"
    "9cn2obVhyd$(OL7yiNctq)0;R^X0j=oaV5$iuEZ#jIQ9!H6ynp8LyuU)fQGVMn4b%SvSDa8)G5k_+`f>QRohmtfwkk}uEJ?-oHq=H1E!k^)IMLqd}*L~BM"
    "eOZPb~CR$Y!GRZ&B1Ib~iOw^-)2DgoG5OqRl1oBPvz*3&8ll<4d=<>WuS6vbrM4R&0+Q#tQnGaB&5*qzo}jcQwMK+XarASW8f$nZ2)SolmkoUrF+L3V1za"
    "b#T(>uw7n(Jqvo^wcmJ6I%ufNDdnT`y&hX$HV9@6a)|B2+@~+mp>@a{`fV0`-w(b(f&JCqFplyj{h(poqw*fasc;U4QSAQAKi@n8ty|PQ18Df5AC^Ge3(G"
    "J84Hw{*lqDc$ygNU*E?at^F*|3QZrmDZ3$wl$ux6~8V+3W*Nn&b`hWSuSbSx8Gy?s33_#U>b%ev)so!rz!{MOO;JQVxrZ{s>xu`=I>tvkh=*zmE|*oFNQm"
    "!;T(`=_w-6#T;6x%)b1ygm8uve9sTG>HDLiH0bRr1y>=u@%|{{9jvsakuSdOG*uRZdCysEdY;|^;C6Tlw%Ax-?Bi@{*8<7v89^bZGG4E_p}d)1k9x*3(or"
    "=V;!;NUR&^qx37<YF)hp!Sc}`85hR%gqOqnjwP-nj&ZUf3I?lPz_Htej@?uBx80d7dQ`#s`t!ExvFE}aMq*^)G74bj(;d*U86=G}NZ*6Idx)pR&+^UEp-`"
    "+GDwoZVf;~_Avuv3~#E+swL_RbeYIqU4BdVDj?hb|Tl_K(<5!`g_(qyclp&K`QW*BDq`04*O$y{id~Ni|32JR*q#58Q9VFwfe2{Iz3Y0X+A_pC5Yo!4^$Z"
    "x^%6;Uma*z&+=eK9&@?5E$V1<Hf%D?Uko85-`;LlJJZ90zg+B+-^~_2r5hG6vGxga%Do|Yq@|aLc~2GCtJSYv{3X0+&q5J0fIIcu1<ml7Q8CtZCp+1))UZ"
    "C(JSGBvRr>tea^TE6nB(r~{9Y3Wt`LGgZo}75@HL2eK%-$SF8~~O>)Fo>T#34fD|60d1@knHv(^D)5@%eJW5oo+xWbRhkB$o*5{qTJSW`CHqzXtPg)H5X6"
    "lKH#LaUC8daqlbmu#rV^uTQj-s1Iuima$FuFH@(0`PBj^qr53QTyLI&zObv9(WI%XkxLCDAQmtHqi;SpkZu{$CDVZBW7zcOD}<ykoON8?$7>#&o>;i3h;U"
    "cnA<41{aVA{PfTpC<MO1y5}G8z@PRODpqRjOx?n^hHC%}9i%<n8z3oR=)O(57yQXJegq1f041H*-%m;SHyo*J>pKxDz%{-5eYJ=w{TOrmSK64EG3@^PXUY"
    "ae1!tT}-6C``;>rF&S1%gL$tYAi=wK6QqwU5>vTOlGH9A#GNet^9{0IE<$@cL`a3#Z5WxA1O6Sg{xS#vD8X_05B*m|7zaoPz#mymR9A<A6Jk1Hra`QtVHX"
    "%32YVU8NWjEcGGfj>>;#F;7k5rm!fT>8=EexlJpk6+-@CoOfCjHvKfj0r@S7O)x$f7pG?%>Ut!34TGmD9oh(Zcw=CLXF2zu#(xKwZ3E1POWlWv+39GPlP^"
    "zr*%npP_Oz#479R&Q;IB9m@X;Bt+HSw>e~odSPzpq4WO0)f8<=yQnD@nWE>uvZk|iLS(#WP1aUwdot}Gk54xi}8xiQN4&fi!}f}R_Ui9CkIKW+T)K&UC-7"
    "M*1w1lJFQ&TZQ%v#H6bVtBi8G}LO0?{JBIoC&=Eg<)002n%&#VW>fMeZ}6H`nwjld5S1n1}kEW$L+M)^>Sqmfd#MFwZfzSOlg`Dw{@LAF6#HSuN1#3oVYz"
    "GF>dDQJ7U^BDW0AuO^8s`?yF~ZTL@^HSSMOxNX@!eJ+Rm!iviHP%c&2=?J&pnAM4ggV>R30(u>aJa1T80Fxk2di?=aJXOQrr4lfSsXbb$ZJC25@hXO9ZjW"
    "yicvPXx%ShahXQKaa=3LD<exOJ9pYW!X5xVE+wEB}<rZ>wAXdaPM|nE%-wUDg-k>;*HumaI_<oxj{pc*(2Te;YHpMAe-l)Z@K^01NHr)Z%9mzkSv|_x~q="
    "o;<b}urw3yTZpL!l7aQlz(f|f!Yi)6{j3ehA8FmfCd}EgCK9IBPr(P;9fXu7&0bG#o!lt7Ms(YH*rbDTF0^6TGO=O%hlQ&0W};4xn@V@rT&p=x55iQwGwR"
    "tw7)z5U!>g&yUn;;e(t{WHB;G+kmZs6vaq=^T(EK}S-}>R9@Ii-$TcG(fSECdALrVRG21D@@&caN{#1eLiUDT0{umQI4&HR!)Ku!^Fal0T{>KZ3qho}r7K"
    "jHT1xMn%<%w8;pSFgaky<ueZ7QU8t!$#yw?F?l>VH77XkSQM#79*SHgJ=>R-^XMbkLO?VLT2f=xh6$#fEIt@ED`wu#Dh3na{>yqq7#3!FnV_kUV%Fv#Rtn"
    "YOZgLrqemOkv@>nf*Yywli1h_;IfUiDGvpo9!(29-&3NnQ_bz=riT8PD#J><nMUgy67Zn;OUKmvVtgn<9Z*!8dDpxzgP=PXK?3e0Qb<;15ctzRZ%qZ7LS~"
    "*G=9UG&Mq4wzt$go##aSG+qAT#90S&hE9P|91Jgt)}J3%}Gnt^91PWHLP9F98ovIfv>wy`FsE&Wq^rapbeX7O}5B?yv7VNnQiH1FC^b-0J9Cd_<JgsQNmb"
    "Y2-0@b)$-*oucHQ=nqNJojB`Gb?&%DVR?rjGX!gBerq5&5&OduX>ZgpP6h*6t0mdG9h!X_<6$|T)LNn?nXF8+i_e5Hni<+mdK_(*3?r`3+#$sN?*VcBhr|"
    "*|+~aMjB&Yn`@+O&nU#Vr>{+y|Tm!2a@<Tf%b3mOUC{aokEU2^c+=YhKC_iF=C_T0mtZ`OFlU^qG$?x}C6^Fn<?iowveWgWwx4M}g#R_24bft$mY8d=^p-"
    "yuoK_ZgqF?k8!h>?X;Dk<_r0cI`eDOTi!;W#h%q05>aTC?24105=Ic1?}FTaoV*oSy{&42e==UUz@S6JTAh6pTm^T!T19lh9l4{S4@`=&g6I!dSfvfzu?C"
    "HY!WLpk>(V?q)A%Chw?!jw>82q>Q2+>=UQufLbLL)cF0^9Iv1`Mz_kKcHwV_wfemwD;~e;A4s4nOeT$)AF<hMt*CxZVN$~X~D4z&vli=z^xHb{ijDfXdVC"
    "EPo90Nam^5ZAUwdj+@pDg%fq3u5W!x0~5zn}B|zApQ_9O!be%f-%@I$!R5rSq}Zj=wgneQx_D&o6y`-t+UHKl{wNXR=%6wAz=tKXq7YZfbUFPU@7VQ=3j}"
    "IK82AO_>W*=fb)M>l;j}Ke_&iIw$L#h&vfKq2|Pz*;0<wSL!Ey4*lULUdETkEQy({pQN9tpP*On*5{!$htyQATygz+nqEIm(@)WiQ?%D9+WQnedy<|zN&6"
    "n5{f^K9hv>jVPQORC(xY4Hf(>-x2AaNxW~`yT*3jN-X!$Cdwwmr+Mfb0={FW@G%a_tMU(vN+(UJ4%sQGkW5uIN|hZWM?LZ{yY)9JzK^x_D5X#^dTM~CLoL"
    "3wm=9_^J!d*{*F!)Wm^x^5_4Ka{Q+O4kmhvj@@QL3G~$x_<zj_c@*aInB$a`PuYHUwX7JUDcPa?n_tnr7Qc=lD>4g^><MgU7SU?XVM*+bXqSuy%(LGL5nk"
    "J-!$4UjrP5Y{jTDQ3%K$E=AFm<^EmG(oc|MEF2gHj*ryCL%ka!uEIo@qoW&o{;=Z%E|19=8i@nd{u~Ix<iknMuODV1^#r3A&eVLBKExpTPNYe~_D_=T108"
    "+9Cz)YJCh8dkO-MYq^&Buyt``^xwvdy0V9o1726{DrW(q{vqL3TRkzlFQ<z%Gp(fw+%Mk%$p%tib+vUVaU5R_8H2_hw-Qu$;=mu|09GvY&-9n<GlHI&o~9"
    "0!$l*Ue@c{G`K%|G~lIC(EPTj=0pPx8#TmN;_hRysFDArlX)WIod#@;O9}!JJHO<Cq<CJ<{!-<4%m8q<x@z=|DtoYkGt>9m)Ri3-R8XOM*oj9%6i0^-d(X"
    "%zr*^NqvQLD;nKAekEIp$NKL^M@4_`sk{Ik&T;h*6;-A%uzMRXR;qW$Q3{0WcXaXf^FaVPG;Y|O!#Pzax<!Ta6cczxtYHY8hmtcIW85O#n}l8J##Me-EsD"
    "U62t;sr^f2$o3`auvuRMs@*-BQ4CU3B5Amr(V!TKOGN)ERBJ6nXn@Zer4oUaxW=hq>PgJNTNwT2n0Iv2a*P4nX-c0A9C>MYhfnEnlhLMe|yc?bFu6<?W~V"
    "PD=tTo>zc7R2FKz+v+lA){+joVQkteLO(<8soF^;SCHbP$wKjT9^xEioGWm|0a@G;5$UtQ$_(LM|J0#X(ZY3y9&Oj3N%+t^On=}(4I*XZA6n&khwp@(D04"
    "&8L(WDSaom7Qfg-9}hJWJMeN1X8yxr|ww-qH{)Dbf&JkLQtG17#2T7Eabu@}-uP0+|m=pvbjAGaH`!O7wCm{Tat=c4~68dt|bdlcAJMlSu|6vp88MlTp!R"
    "jGQa|g2!ZXT1zHyav>^q6(#k^ObuyrnD>&-vCWW<z44cOeH(CAI5tihmgC1kpH^n4Xh$sWRMe?>sdco<E>@q=k{EI&RM}Q1-!I=KZjE&uYhc6SD*=aS@!Z"
    "TX4E0|N0SoNQ!5K|WoV!ffG`e&YEE)w<M?%VASk}~*#C56D9agM`VcPFD1yZ{Kn_y*{&lFk70a~+!S=C+>31j5iEa~cQb0w}qF5v6p;lc+Fd$;>`#cgXrZ"
    "%k>H3)vl}zSQPp9v_>?rJ}#vl4QR0GEd|e0`}_KyYUV*?Z$U>xc<xb*r#i{uyNOK1_S4@I%Qj7ywsYrR!3f%`j0$#Z@#GG?p5NaV5Ja9h(#EGHVp38qNmH"
    "d;I_#Q{bE`U|6vAnJ~;zMK7bhy8dsTD$VZvo{eLq3S{LEXpBv!Mch+1EsCzScp<u=it#yWY{q0mxJRjue@b(16HeHR;Xy`3+DV1)rv*+Ib;xWxh%`)AV*f"
    "TNL<t6yo9ld(s<gn}M%bIzQv+lRO%W~g711`*fK6Z!xFWFwIQyg?PkM7kRVMo~^c9<Pt2iYFBm+fZXvlVP5TgJX-i`ZhefGuQmn6eI9%!=6M@3d|rI137B"
    "Un*%OZ5k~{<;tMxRJr<zaOL_;%wx)xL$giSR650WDIbhjuhx&Xe{q+X<CN#IbPUabZ0HZ4gA#TS57@$$bT9o~3H=3sM)Up1Ai#re>_5LRq`?bo@}YPbe2w"
    "IuAC$H9Lppp}$d24$U~!~L;%zPN#_vtnP7}smxEZ&IYj{7H`=1$E+On0Jn@{UVFBU)3KeWxf+5qyLwQ=H)4`3;m&MQPO<)_TF|B)ZCcEWmYTFxh8_I1ZHg"
    "HJPs&T})O3x7Y15387I-S1R*2khA*8@@^IZ5c5id^<zyu9yYV1}#qg%6GLU4G*l^PjE>mrOol3_}8y7tt6O6ZY{ydAL4nz<paMAlze}Q5MSo|j-D{jUcvQ"
    "m1c2|40i@~umk18DZzkiG$pNJMga0J+Z$dd#^>C^LNNGukVq>Cbt-53hekPRvZ%rMxZ3B4rgPzC`bExTi12Og{ZUpPzHgh6k-_B-wKeQT5_p<`&de56%KV"
    "JjV2@$=?^R9&9zu77xztiB94|6B^5C@a+${~lk+NwdU6+@2qyLxi1na@G3)8_y$m)dH$I|zE($vOQ=mmv53PNslA#L;Bkm_I9W&-8xL?DZa?#ev$KxxOu)"
    "m9R&HE7$w%`*Evarv~TROa<aoJgpPrUeI`u#r1x2ZgA{mMSfr&&NfdsUoG*R@`!1N;|hhr#(v|W0oiL!i&;wiQV;Rxzf^vgD&Nw~5oxx4L>&9t(&NO13mq"
    "a{In?$z4QvD=#Fb#g9A@Wf^V8G8XPNS$WKvmv?C5K+vdNHr7|+^2QnGD`NS8e3`0-l^lto$kN-SN0hBe@{4b@a%VrdE?>&zR7i%gQ>;3nW6?KI7qbud~aI"
    "bhmwdVHA&8}n=BckkDp2ewJVC<s=6<GKE|`OHu8HHS6?uy>E6+vk`wg`M?_sRbu(pJ9!5n3XQsbA0v0r@Rxdn|!Qha6`a^A$=;~Opc%8*djRke_jQZgSK+"
    ";9|0hC{>XKYeS5(95C4b%%ijhG*x*D1|9Do3>MflL!ETe6of;|1dE<;wFQ;pZcp+ao4F)}I_i;Q_G8LvzgDKNM$btPfHT{G`3l6pnVZPcu8*qj)a7KIq=w"
    "~a~BbbVL#jt-?$SU>uN9?v@sy8X_jrr`ibP$GmJ$#;Z#E>@AIrmco{yvVL3#gpdFv|Wh;p{FPcgzHh)rAl+xYDp5ZZCwNX2KqO|7>X$x_WY=2o`B^u_ycN"
    "yFx|ScEE~lpB*i1lY`o&vta9Eb~fqem?CqI<34&H9r$}-4ovyvo>_4GUE6EUA3aW=N<iJVh>nLFl-afRaT;9E4d0y+eZ^{teGw`<rq6}_`Ti39-cS6z>Gt"
    "Bc+DI|A5azt$%MdhizI))`k{R2)01j%)_zv43$FYA1jRO_@zbPw*3&mi_abWt_0vmHr{=0$Fwk(@2Jj(pUmA&rKViX04<|#4DGWI0naS}>;@fZ`ArF@Bzx"
    "g2_#zsM*(<l2YVJ?>ilo%xnxJ@Y_E6Km1LD9Y*Wjq8D)>Z7Rs*H?p|UThA~64Aorf_&S$xN8W%+LIo88?Tgr=MT9pdz8BP_{!UiXh{XWs%lC~9=8kr$Aix"
    "Q+F5&^l`nWsvt8H}14rX<&*FZFRe3OdIe(^;Yy28Ic#&#Lst{q|m0h5aREKYd<>~|9TU%jSrHOKucBTi7b$YI0nwLe}m0ZdvXC`+pvwVj~NQ@POc+()o-7"
    "X}ue0Vq8G^btPd^2#~)r3fwuxf!&{I{xOTm=<W2oPGRBv7H^@XaSG4O9pPCg1Nnevre`_vY@nr7+Cp7df1tHnz8KRekg|*gHPh0*;I@-KHxWcV-<2%$o_g"
    "uJf#B6YVF3l~`N_#R0oY5Bc*l`t?J7W-n@v-BU4GJf7{j5cW$rG1u(x0NaV1;=%oVJ?C=_EWQe6kLd*+=@T8E|3HflXM`|xIWUBqU+mcLifz^Q_j0pF#wM"
    "->o}UhQsK?PBdz{WO>wgtKxx=fYMg_rRwU|M4iAE4+a)atquSLgTcboo?s2x<jAldcsr5k=c?Xd5h9Aj@xd4xFcJKI8r{RAkp>t8D^F{u2df*08QZ{>GXw"
    "=}kyCU1d98yh<vhAq&KEn?Va8%-G()piP-5j{jZ77DR;&$>DEi|E4WdD2PTkF~#)MoFbHUIr|8n8y)IhX(JKTvG^`Y0oxmCLB5eM^A*$zq!58j_dgmP0Xt"
    "weUx>O^T^)e>>gGCoNW`=SYYw&%0F&~9zUODYxLyL{L}I={}``2pvmr;wAc3WLw3MYe1`2XoI}l~--|eu8gLTD@wVWiKu*iKc<(l=)IDaopLh!oKXlWN;+"
    "%WQs=JlhWyf3I|Io@BL5D4OdyikiHqfiMmKSL=qSB*C^W*Xyne=C$v*Q}F8|L6r%^XhhaWkG{U$QMxd726I98FhF9>ZeHg=4tx)4{#qXBZGQ9wxw0ewLm3"
    "==%&9F6C<nNc&Cu^}l7`v7KyRj~zX9KZqYBJA3TvAw{p$mS~Z#)Q;pMa22k`;dq*V%N|(tzg_7thtJn$v+to8Nj95C=W7Yss#&jn<pdv&hoh#jMVcd>M%4"
    "03nXekFGG2vS9*Why*eXOEF2>&C1lV0O;zf*z)ajGMTHQ3=@c-c*`@#"
)
