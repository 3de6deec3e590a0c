"""The words of depth: reasoning, judgement, causes, constraints and conditions.

Data only; the form of an entry is told in `vocabulary`. The words of the fields where depth is
common are in `vocabulary_fields`.
"""
# ruff: noqa: RUF001 - letters of other alphabets are meant

from typing import Final

PROOF: Final = """
prove proven proof proofs disprove show_that derive derivation rigorous* lemma theorem* corollary
conjecture* counterexample* counter-example* necessary_and_sufficient if_and_only_if iff
contradict* inconsistent paradox* contradiction infinit* invariant* induction bound bounds sharp
sharpest optimal* exactly exact guarantee* formal* unbiased justify argue argument hypothes* axiom*
provabl* correctness worst_case worst-case converge* impossib* equivalen* exists exist always ever
odds probability beweis* zeig* widerleg* gegenbeispiel* schranke* streng* widerspr* herleit*
annahme* notwendig hinreichend begründe* äquivalen* höchstens mindestens garantie* nachweis*
démontr* prouve* preuve contre-exemple* borne* rigoureus* hypothèse* justifie* nécessaire
suffisant* équivalen* garanti* demuestr* demostr* prueb* contraejemplo* cota* rigur* hipótesis
justific* óptim* contradic* garant* demonstr* contraexemplo* rigor* hipótese* justifiqu* ótim*
contradiç* garantia* dimostr* controesempi* rigoros* ipotesi giustific* ottim* contraddi* garanzi*
bewijs* tegenvoorbeeld* aantonen onderbouw* tegenspraak udowodni* dowód dowodu kontrprzykład*
ogranicze* uzasadni* optymaln* sprzeczn* wykaż докаж* доказ* опроверг* контрпример* оцен* строг*
обоснуй* оптимальн* противореч* гарант* kanıtla* ispat* karşı_örnek* gerekçe* çelişki* optimal 证明
推导 反例 论证 严格 当且仅当 矛盾 最优 上界 下界 充要 假设 等价 归纳 保证 一定能 証明 導出 論証
厳密 必要十分 最適 仮説 等価 保証 必勝 根拠 증명 반례 엄밀 필요충분 모순 최적 상계 하계 가설 동치
보장 أثبت برهان تناقض فرضية सिद्ध प्रमाण demonstrate establish refute falsif* deduce deduction
entail* infer* soundness completeness sound complexity lower_bound upper_bound asymptotic* big-o
tight monoton* uniqueness well-defined pathological generaliz* generalis* characteriz* characteris*
classify_all find_all for_all for_every there_exists suppose let_f let_g let_x let_n qed
nachzuweisen beweisführung eindeutig* existenz obere_schranke untere_schranke folgt_daraus für_alle
démonstration unicité existence borne_supérieure pour_tout il_existe déduire montrer montrez
montre_que demostración unicidad existencia para_todo existe deducir muestra_que demonstração
unicidade existência mostre_que deduza prove_que dimostrazione unicità esistenza per_ogni
mostra_che deduci bewijs_dat uniciteit toon_aan dowiedź pokaż_że istnienie jednoznaczn* wywnioskuj
выведи* покажи_что существован* единственн* для_любого следует ispatla ispatlayın göster_ki
gösteriniz 唯一性 存在性 求证 证实 推广 复杂度 任意 充分 必要 判定 刻画 一意 存在 示せ 示して
任意の 計算量 一般化 보여라 보이시오 임의의 유일 존재성 복잡도 أثبت_أن برهن استنتج सिद्ध_करो flaw
flaws flawed fallacy loophole* hidden_assumption gap_in handwav* truth_conditions self-referen*
liar every_reading every_meaning all_readings exactly_as winning_strategy expected_value lückenlos
trugschluss denkfehler gewinnstrategie erwartungswert lücke faille démontre sophisme
stratégie_gagnante espérance falla falacia* estrategia_ganadora valor_esperado falácia*
estratégia_vencedora fallacia strategia_vincente valore_atteso drogreden winnende_strategie
błąd_w_rozumowaniu strategia_wygrywająca выигрышн* ошибка_в_рассужден* матожидан* 漏洞 谬误
必胜策略 期望值 能否 是否一定 一定 抜け穴 誤謬 期待値 必ずしも 오류 필승 기댓값 minimum minimal
minimi* maximi* least fewest smallest_number largest_number possible impossible ways how_many_ways
distinct_ways number_of_ways can_you_ever is_it_ever under_which_conditions what_conditions
minimal* kleinste größtmöglich* möglich unmöglich wie_viele_möglichkeiten combien_de_façons mínim*
máxim* posible imposible cuántas_formas possível impossível quantas_maneiras minim* massim*
possibile impossibile quanti_modi mogelijk onmogelijk możliw* niemożliw* najmniej* возможн*
невозможн* минимальн* наименьш* наибольш* mümkün imkansız 最少 最小 最大 可能吗 不可能 有多少种
何通り 可能か 最低 最短 가능한가 불가능 최소 몇_가지 ممكن مستحيل संभव असंभव
"""

JUDGEMENT: Final = """
tradeoff* trade-off* disagree* conflict* contradictory dispute* risk risks risky assumption* assume
strategy strategic sequence negotiat* uncertain* evidence honest* defend defensible misleading
ambigu* interpret* recommend* decide decision* decisions which_order in_what_order irreversible
rollback roll_back abort criterion criteria incompatible priorit* sacrifice scenario* sensitivity
consequence* incentive* game_it liable blame cause causal root_cause confound* artefact artifact
plausible reliab* verify audit investigat* diagnos* prognosis stakeholder* cofounder board trustees
investor* lawyer* court judge tribunal minister regulator* refuse refuses secretly dementia trust
wrong_question haven't_asked what_would should_i what_do_i what_if think_about weigh options
entscheid* abwäg* widersprüch* risik* annahm* strategi* reihenfolge unsicher* beleg* ehrlich*
mehrdeutig* auslegung empfehl* ursache* folgen szenari* haftung gericht* streit* gutachten abbruch*
kriteri* beweislast décid* arbitr* contradictoire* risque* stratégi* incertain* preuve* honnête*
recommand* cause* conséquence* scénario* responsab* juge expert* litige* négoci* hypothèse*
critère* decid* decisi* conflicto* riesgo* estrateg* incertidumbre evidencia* ambig* recomend*
causa* consecuencia* escenario* juez juicio negoci* criterio* supuesto* abort* peor decisõ*
conflito* risco* estratég* incert* evidência* ambígu* consequência* cenário* juiz premissa*
critério* pior decider* conflitt* rischi* incertezz* prov* raccomand* consegu* scenari* giudice
tribunale criteri* impugn* beslis* risico* strategie onzeker* bewijs* afweg* oorzaak gevolg*
rechter decyz* ryzyk* niepewn* dowod* założen* przyczyn* skutk* sąd* najgorsz* решени* риск*
стратег* неопредел* доказател* причин* последств* сценари* суд* порядке договор* karar* risk*
strateji* belirsiz* kanıt* neden* sonuç* mahkeme* senaryo* 权衡 冲突 风险 策略 不确定 证据 歧义
建议 决策 因果 后果 责任 分歧 谈判 优先 矛盾 核实 最坏 敏感性 排除 トレードオフ 対立 リスク 戦略
不確実 証拠 曖昧 推奨 判断 責任 相違 優先 揺れ 最悪 条件を整理 상충 위험 전략 불확실 증거 모호 결정
인과 책임 우선 최악 검토 مخاطر استراتيجية أدلة قرار تعارض जोखिम implication* second-order
counterfactual* critique critically evaluate assess assessment appraise reconcile resolve_the
competing stakeholders underlying systemic mitigat* contingency feasib* viable long-term short-term
irreconcilable controvers* nuance* perspective* debate* defensib* convincing persua* rationale
justification weigh_up due_diligence red_team failure_modes blind_spot* what_could_go_wrong
worst_that pre-mortem hidden subtle* subtly edge_case which_option best_option bewert* beurteil*
abwägung kritisch* vor-_und_nachteile tragfähig* nachhaltig* langfristig* zielkonflikt* hinterfrag*
strittig* kontrovers* plausib* machbar* umstritten* évalue* critique* enjeux faisab* à_long_terme
débat* convaincan* pertinen* incidence* arbitrage evalú* crítica* críticamente matiz* viab*
largo_plazo convincente implicaci* avalie* criticamente viabil* longo_prazo implicaç* valuta*
critica* sfumatur* fattib* lungo_termine dibattit* implicazion* beoordeel* haalbaar* langetermijn*
afwegen implicatie* oceń* krytyczn* wykonaln* długoterminow* implikacj* rozważ* оцени критич*
осуществим* долгосрочн* обсужд* последстви* взвес* спорн* değerlendir* eleştir* uzun_vade*
uygulanab* tartış* 评估 批判 可行性 长期 争议 利弊 隐患 取舍 立场 影响 深层 評価 実現可能 長期 論争
是非 影響 本質 평가 비판 타당성 장기 논쟁 장단점 영향 قيّم تقييم نقد آثار मूल्यांकन intermittent*
sporadic* randomly only_when only_sometimes once_a_week can't_reproduce cannot_reproduce works_on
outage postmortem post-mortem data_loss corrupt* live_traffic production_down dilemma* who_is_right
whose_fault fair fairly consent accus* blackmail whistleblow* inherit* divorce* estranged bankrupt*
layoff* insolven* fraud embezzl* merger takeover pivot runway term_sheet exit_strategy get_out_of
stay_or_leave accept_or between_two not_allowed_to nobody_knows contradict_each sporadisch
unregelmäßig nur_wenn ausfall datenverlust dilemma fusion insolvenz kündigen scheidung sporadique*
aléatoire* panne perte_de_données dilemme* faillite divorce intermitente* aleatori* caída
pérdida_de_datos dilema* quiebra fusión divorcio aleatóri* queda perda_de_dados falência fusão
divórcio guasto perdita_di_dati dilemm* fallimento fusione divorzio storing gegevensverlies
faillissement echtscheiding awari* utrata_danych dylemat* bankructwo rozwód сбо* потеря_данных
дилемм* банкротств* развод 偶发 偶尔 时有时无 无法复现 故障 数据丢失 两难 破产 并购 离婚 遗产
内部举报 断続的 再現しない 障害 データ損失 ジレンマ 破産 合併 離婚 간헐적 재현 장애 데이터_손실
딜레마 파산 합병 이혼 معضلة إفلاس طلاق
"""

CAUSE: Final = """
why how_come explain_why what_happens reason reasons cause causes really actually still despite yet
warum wieso weshalb woran tatsächlich wirklich trotzdem pourquoi comment_se_fait réellement
vraiment por_qué porqué realmente por_que porque_é perché davvero waarom eigenlijk dlaczego
naprawdę почему зачем действительно neden niçin gerçekten 为什么 为何 真的 なぜ どうして 本当に 왜
정말 لماذا هل क्यों bug bugs buggy debug* crash* wrong broken fails failing doesn't_work
not_working der_fehler den_fehler fehlersuche absturz stürzt abstürz* funktioniert_nicht plante
plantage l'erreur une_erreur ne_marche_pas ne_fonctionne_pas el_error un_error falla fallo
no_funciona erro falha não_funciona l'errore un_errore non_funziona de_fout crasht werkt_niet błąd
błędu nie_działa баг ошибку ошибка падает не_работает hatayı hata çalışmıyor 报错 崩溃 出错 バグ
クラッシュ 動かない 버그 오류 안_돼 خطأ बग
"""

CONSTRAINT: Final = """
must mustn't without unless except at_least at_most no_more_than never cannot can't only_if each
every any both neither either within under_the keep preserve avoid may_not should not_be no_one
nobody all none limit limits constraint* require* byte_for_byte same simultaneously meanwhile
whatever as_long_as even_if until before after exactly deadline budget max min muss müssen darf
dürfen ohne außer mindestens höchstens niemals jede jeder jedes alle kein keine weder entweder
solange bis innerhalb pro genau doit doivent sans sauf moins_de au_moins au_plus jamais chaque tous
toutes aucun aucune ni jusqu'à debe deben sin salvo al_menos como_máximo nunca cada todos todas
ningún ninguna hasta menos_de deve devem sem exceto pelo_menos no_máximo nenhum nenhuma nem até
devono senza tranne almeno al_massimo mai ogni tutti nessun* né fino moet moeten zonder behalve
minstens hoogstens nooit elke geen tot musi muszą bez oprócz co_najmniej nigdy każd* wszystk* żad*
dopóki должн* нельзя без кроме хотя_бы никогда кажд* все ни_один пока можно zorunda olmadan hariç
en_az en_fazla asla her hiçbir kadar 必须 不得 不能 除非 至少 最多 每个 每 任何 之前 以内 不要 只有
所有 不超过 同时 要求 必ず なければ 少なくとも 最大 すべて 各 絶対に ただし ず 場合 禁止 てはならず
のみ 반드시 없이 최소 최대 모든 각 절대 이내 않 يجب دون على_الأقل كل لا_يجوز बिना कम_से_कम हर
subject_to such_that so_that under_no given_that provided_that no_two not_more_than not_less_than
but_not even_when regardless independent_of in_parallel at_the_same_time sofern vorausgesetzt
unabhängig_von gleichzeitig auch_wenn à_condition_que sous_réserve en_même_temps siempre_que
a_la_vez siempre_y_cuando desde_que ao_mesmo_tempo a_condizione_che allo_stesso_tempo mits tegelijk
pod_warunkiem jednocześnie при_условии одновременно 无论 前提 同時に 条件
"""

CONDITION: Final = """
if whether but although though which whose whom because since while whereas however then so_that
would could might otherwise rather than instead between against among where who when how what wenn
falls ob aber obwohl während deren dessen weil damit sondern jedoch würde könnte zwischen gegen wie
was wer wann welche welcher welches si mais alors_que dont lequel laquelle parce_que puisque tandis
afin entre contre comment quel quelle pero aunque cuyo cuya porque mientras sino contra cómo qué
quién cuándo cuál se mas embora cujo cuja enquanto senão como quando quem ma sebbene cui mentre
perché affinché tra contro come chi als maar hoewel terwijl omdat wiens tussen tegen hoe wanneer
jeśli ale chociaż który która które ponieważ podczas między przeciw jak kiedy czy если но хотя
который которая которые потому между против как когда ли чтобы eğer ama rağmen çünkü arasında karşı
nasıl ne_zaman 如果 但 虽然 因为 是否 而 如何 哪些 以及 并 もし しかし かどうか どの どう ながら
一方 および つつ 만약 하지만 지만 여부 어떻게 어떤 إذا لكن هل كيف يमदि यदि लेकिन
"""

DEPTH: Final = (
    ("proof", PROOF),
    ("judgement", JUDGEMENT),
    ("cause", CAUSE),
    ("constraint", CONSTRAINT),
    ("condition", CONDITION),
)
