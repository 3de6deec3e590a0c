"""The words of the fields where questions are deep, or being wrong is dear.

Data only; the form of an entry is told in `vocabulary`.
"""
# ruff: noqa: RUF001 - letters of other alphabets are meant

from typing import Final

MATHEMATICS: Final = """
algebra* subgroup* group_theory abelian solvable cyclic isomorph* homomorph* topolog* compact*
measure measurable borel lebesgue riemann integrable differentiable derivative* continuous*
uniform* almost_everywhere manifold* hilbert banach eigenvalue* eigenvector* matrix matrices
polynomial* prime primes modulo integer* irrational* random_variable* exchangeable martingale*
expectation covariance variance distribution bayes* posterior estimator convex* gradient
combinator* permutation* graph planar vertex vertices tensor* operator* axiom_of_choice gödel
cardinal* ordinal* decidab* np-hard np-complete turing entropy stochastic coin coins prisoners
envelope envelopes hats lamp bulb puzzle* peek* player players game zugzwang integral series
sequence limit orthogon* symmetric funktion* untergruppe* stetig* integral* primzahl* eigenwert*
wahrscheinlichkeit* menge raum fonction* continue* intégrale* convergence premier* valeur*_propre*
probabilité* suite série función continua* convergen* primo* probabilidad* matriz grupo conjunto
função contínua* probabilidade* funzione continu* misura probabilità insieme gruppo успешно функци*
непрерыв* сходи* групп* многочлен* вероятн* множеств* простых интеграл* матриц* funkcja ciągł*
zbieżn* grupa wielomian* prawdopodobieńst* zbiór macierz* niewymiern* 函数 连续 收敛 概率 矩阵
多项式 素数 极值 子群 测度 空间 博弈 天平 期望 関数 連続 収束 確率 行列 多項式 部分群 測度 空間
有限群 共分散 独立 先手 함수 연속 수렴 확률 행렬 다항식 소수 집합 수열 دالة احتمال مصفوفة
holomorphic analytic meromorphic cohomolog* homolog* functor* category_theory galois sheaf ring
noetherian ideal ideals module_over vector_space linear_map basis dimension determinant trace norm
cauchy lipschitz fourier laplace differential_equation* pde ode green's markov poisson gaussian
binomial hypergeometric central_limit law_of_large diophantine congruen* totient quadratic_residue
riemann_hypothesis euler hamiltonian chromatic ramsey pigeonhole generating_function* recurrence
nash minimax linear_program* knapsack np_hard lambda_calculus church halting undecid*
turing_machine kolmogorov lyapunov bifurcation topology hausdorff metric_space dense countable
uncountable bijection injective surjective fixed_point irreducible vektorraum stetigkeit konvergen*
folge reihe ableitung menge_aller bijektiv* abzählbar espace_vectoriel matrice* continuité
dérivable bijecti* dénombrable anneau espacio_vectorial continuidad derivable biyecti* numerable
anillo espaço_vetorial matrizes continuidade derivável bijet* enumerável anel spazio_vettoriale
matrici derivabile biiettiv* anello przestrzeń ciągłość pochodn* różniczk* многообраз* непрерывн*
производн* изоморф* пространств* кольц* türev matris olasılık asal süreklilik yakınsak* 微分方程
特征值 线性空间 拓扑 同构 群论 可导 可测 级数 组合 图论 博弈论 随机变量 方差 整除 微分方程式 固有値
線形空間 位相 同型 群論 微分可能 可測 級数 組合せ 分散 整数 미분방정식 고유값 선형 위상 동형 군론
미분가능 급수 조합 분산 معادلة تفاضلية مصفوفات تكامل theorem teorema théorème satz lemma corollario
dimostrazione stetig funktion gruppe körper sottogruppo spazio misurabile convergenza uniforme
serie successione matrice autovalor* primo primi sous-groupe mesurable convergence_uniforme suites
séries valeurs_propres nombres_premiers corps subgrupo medible sucesión valores_propios
números_primos cuerpo mensurável sequência autovalores 定理 命题 引理 有理数 无理数 自然数 数列
极限 导数 积分 不等式 方程 命題 補題 無理数 極限 微分 積分 方程式 정리 명제 정수 유리수 무리수
자연수 극한 미분 적분 부등식 방정식 प्रमेय अभाज्य अपरिमेय संख्या نظرية أعداد
"""

SYSTEMS: Final = """
lock-free lockfree wait-free deadlock* livelock race_condition races atomic* memory_order*
memory_model acquire release relaxed linearizab* serializ* isolation_level* consensus raft paxos
quorum idempoten* exactly-once exactly_once distributed replicat* shard* failover zero_downtime
zero-downtime consisten* crash* power_cut power_loss fsync durab* wal mvcc lsm garbage gc p99
latency throughput contention scheduler kernel compiler optimizer undefined_behavio* volatile
refcount* segfault heap corruption cache_line constant_time constant-time side_channel cryptograph*
encryption end-to-end tls handshake threat_model attack* adversar* firmware microcontroller
interrupt determinis* bit-for-bit reproducib* concurrent* concurrency mutex seqlock futex parallel*
byzantin* backpressure event_sourcing bitemporal* migrate legacy lines_of_code petabyte tb
reentrant* split-brain gil weakref bignum o(1) o(n) log_n nebenläufig* verteilt* konsistent*
ausfall* rechenzentr* altsystem* concurren* distribu* coheren* cohéren* consistenc* verrou*
migration caída* réentrant* chiffr* criptograf* cifrado concorrente* determinist* determiníst*
wydajnoś* współbieżn* распредел* согласован* параллельн* дедуплик* блокировк* гонк* 分布式 一致性
并发 死锁 崩溃恢复 事务 快照 隔离 可串行化 停机 延迟 吞吐 分片 加密 因果链 抖动 分散 一貫性 並行
デッドロック 無停止 切断 トランザクション 決定的 再現性 分岐 シャード 暗号 単調 분산 일관성 동시성
교착 무중단 옵티마이저 암호화 트랜잭션 موزع تشفير race_conditions thread-safe thread_safety
memory_leak* use-after-free buffer_overflow stack_trace heisenbug flaky nondeterminis*
non-determinis* kubernetes_operator multi-tenant multi-region active-active cap_theorem
two-phase_commit 2pc saga crdt vector_clock* gossip leader_election write-ahead lsm-tree b-tree
bloom_filter tail_latency rate_limiter at_scale scalab* high_availability fault-toleran* partition*
eventual_consistency strong_consistency snapshot_isolation write_skew phantom_read* zero-knowledge
homomorphic post-quantum formal_verification tla+ type_system type_inference borrow_checker
lifetime* simd vectoriz* jit numa tlb page_fault* kernel_panic rcu architekt* skalier*
speicherleck* verteiltes nebenläufigkeit ausfallsicher* hochverfügbar* architecture_logicielle
montée_en_charge haute_disponibilité tolérance_aux_pannes concurrence arquitectura escalab*
alta_disponibilidad tolerancia_a_fallos sistema_distribuido concurrencia arquitetura escaláv*
alta_disponibilidade tolerância_a_falhas sistema_distribuído concorrência architettura
tolleranza_ai_guasti architektur* skalowa* współbieżność архитектур* масштабир* отказоустойчив*
распределенн* многопоточн* mimari ölçeklen* dağıtık eşzamanlı* 架构 高可用 容错 扩展性 线程安全
竞态 内存泄漏 多租户 微服务架构 最终一致 幂等 高并发 アーキテクチャ 可用性 スケール 競合
スレッドセーフ メモリリーク 冪等 整合性 아키텍처 고가용성 확장성 경쟁_상태 멀티테넌트 메모리_누수
معمارية قابلية_التوسع
"""

LAW: Final = """
statut* jurisdiction liabil* indemnit* clause* arbitrat* plaintiff defendant claimant injunction
estoppel fiduciar* tort tortious negligen* breach* covenant* copyright patent* infring* trademark
earn-out change-of-control shareholder* directors consideration constitutional* precedent* appeal*
probate inheritance heir* will trust trustee* deed conveyanc* landlord tenant lease eviction gdpr
immunity treaty sanctions custody klausel* agb kündigung* vertrag* haft* gesetz* urteil* mieter
vermieter erb* frist* klage* bgb stgb contrat* droit juridique* bail licenciement prud'hom*
succession nullité juge délai* recours contrato* cláusula* ley juríd* herencia demanda* recurso*
testamento nulidad residencia tribut* lei herança ação nulidade estatuto* acórdão contratt*
clausol* legge giurid* eredit* ricorso umow* klauzul* ustaw* prawn* spadk* pozew wypowiedzeni*
договор* закон* иск* наследств* арбитраж* sözleşme* madde* dava* kira* hukuk* yargıtay* miras* 合同
条款 违约 仲裁 法律 诉讼 继承 举证 回购 股东 判例 侵权 契約 条項 違法性 訴訟 相続 不法行為 계약
조항 소송 판례 상속 보증금 عقد قانون ميراث محكمة दावा अनुबंध lawsuit litigation sue sued settlement
damages remedy remedies enforceab* void voidable liabilities compliance sanction* antitrust
merger_control fiduciary shareholders' indemnif* warranty waiver severance wrongful dismissal
discriminat* habeas due_process standing strict_scrutiny hearsay admissib* evidence_law mens_rea
self-defence self-defense intellectual_property licen*ing gpl copyleft data_protection
subject_access schrems residency tax_treaty transfer_pricing vat_liability schadensersatz* anfecht*
verjähr* rechtslage rechtsfolg* zulässig* strafbar* anspruch ansprüche datenschutz*
dommages-intérêts prescription recevab* licite pénal* civil contentieux conformité indemnización
prescripción nulo penal* civil* despido cumplimiento indenização prescrição demissão conformidade
lgpd risarcimento prescrizione penale civile licenziamento schadevergoeding aansprakelijk* ontslag
strafbaar odszkodowan* przedawnieni* odpowiedzialność компенсац* давност* ответственност* уголовн*
увольнени* tazminat zamanaşımı sorumluluk 赔偿 时效 责任 解雇 合规 刑事 无效 侵犯 知识产权 賠償
時効 法的 無効 著作権 손해배상 시효 해고 불법 تعويض valid_contract legally lawful unlawful illegal
is_it_legal binding enforce breach_of vicarious criminal_liability negligence_claim causation_in
duty_of_care promissory constructive ultra_vires responsabilità contratto_preliminare nullità
inadempimento licenziato reato colpa dolo usucapione diritto responsabilité_civile inexécution
délit faute dol préjudice servitude droit_de responsabilidad_civil incumplimiento delito culpa
derecho usucapión responsabilidade_civil inadimplemento crime direito usucapião haftbar nichtig
anfechtbar schuldhaft vorsatz fahrlässig* eigentum besitz widerruf* 不当得利 表见代理 善意取得 犯罪
故意 过失 侵权责任 抵押 债权 债务 物权 行政 表見代理 善意 過失 債権 債務 物権 取消 抵当 刑法 民法
憲法 불법행위 채권 채무 고의 과실 민법 형법 헌법 कानून अदालत मुकदमा संविधान جريمة مسؤولية قضية
"""

MEDICINE: Final = """
patient* diagnos* differential prognosis symptom* anticoag* warfarin blood_thinner* aneurysm sepsis
antibiotic* chemotherap* contraindicat* comorbid* egfr creatinine potassium sodium hypokal* ecg ct
mri biops* metasta* tumour* tumor* cancer dose dosing mg/kg overdose screening sensitivity
specificity randomi* trial rct cohort hazard_ratio mendelian stroke seizure* confusion dementia
palliat* capacity dnacpr pregnan* paediatric pediatric icu syncope chest_pain shortness_of_breath
fever rash bleeding insulin tachycard* hypotens* embol* thrombo* renal hepatic cirrhosis patientin
dosierung krebs schwanger* blutverdünn* behandl* therapie* diagnost* symptôme* traitement* fébrile*
enceinte anticoagul* douleur* paciente* diagnóst* síntoma* tratamiento* embaraz* dolor fiebre
sintoma* tratamento* gestante dor febre pazient* sintom* terapia gravidanza febbre dolore pacjent*
diagnoz* objaw* leczeni* ciąż* пациент* диагноз* симптом* лечени* беремен* боль hasta* tanı
belirti* tedavi* gebe* 患者 诊断 鉴别 症状 治疗 剂量 低血钾 孕 发热 疼痛 化疗 診断 治療 余命 妊娠
肺炎 환자 진단 증상 치료 임신 مريض تشخيص أعراض علاج मरीज निदान diagnosis treatment clinical
pharmacolog* interaction* drug_interaction* side_effect* adverse dosage titrat* taper withdrawal
serotonin_syndrome lithium methotrexate clozapine heparin doac apixaban rivaroxaban metformin
beta_blocker* ace_inhibitor* statin* steroid* prednis* opioid* benzodiaz* renal_failure kidney
liver_failure heart_failure copd asthma pneumonia meningitis appendicitis myocardial infarct*
angina troponin d-dimer ketoacid* hyponatr* hyperkal* anaemi* anemi* thyroid lupus vasculit*
lymphoma leukaemi* leukemi* melanoma ectopic preeclamp* neonat* infant* elderly suicid* self-harm
psychos* depress* bipolar anaphyla* allerg* vaccin* contraindication* red_flag* year-old yo_male
yo_female nebenwirkung* wechselwirkung* dosis niereninsuffizienz herzinsuffizienz schlaganfall
herzinfarkt fieber schmerz* schwangerschaft säugling* impf* verschreib* arzt blutdruck
effet*_secondaire* posologie insuffisance_rénale avc infarctus fièvre grossesse nourrisson
médicament* efectos_secundarios insuficiencia_renal ictus infarto embarazo lactante vacun*
medicament* efeitos_colaterais insuficiência_renal gravidez bebê vacin* remédio*
effetti_collaterali insufficienza_renale farmac* bijwerking* nierinsufficiëntie beroerte
zwangerschap koorts medicijn* skutki_uboczne niewydolność udar zawał gorączk* lek leki dawk*
побочн* почечн* инсульт инфаркт температур* лекарств* дозировк* давлени* yan_etki böbrek inme ateş
ilaç doz 副作用 相互作用 肾功能 心衰 中风 心梗 发烧 怀孕 婴儿 药物 用药 胸痛 头痛 腎 心不全 脳卒中
発熱 薬 投与 부작용 신부전 심부전 뇌졸중 발열 약물 복용 흉통 임신부 أعراض_جانبية جرعة كلوي حامل
دواء दवा खुराक बुखार
"""

LEARNED: Final = """
heterological teleport* gettier zfc continuum_hypothesis context-free regular_language np arrow's
entails modal necessarily possible_worlds logic* fallac* valid invalid unsatisfiable satisfiab*
rocket* spaceship* velocit* vacuum entrop* energy gravit* field flux oscillat* molecul* photon*
consciousness epistemic* epistemolog* ontolog* metaphysic* moral ethic* justice free_will
historiograph* historian* thermodynamic* quantum relativit* relativistic equivalence_principle
radiat* spacetime reversib* isotropic cosmolog* evolution* selection_bias survivorship causal*
identifiab* instrumental meta-analysis p-value confidence_interval power_analysis bias biased
econom* equilibrium auction* mechanism_design inflation macro valuation convertible dilution
cash_flow covenant hedge* derivative* merger acquisition margin churn monopol* regulat* sestina
sonnet palindrome villanelle alexandrin* hexameter pentameter unreliable narrator lied gedicht*
dopplungen bewusstsein erkenntnis* thermodynam* relativ* endecas* endecasíl* alexandrins soneto*
métrica terzin* 哲学 量子 相对论 意识 反事实 相対 意識 철학 양자 philosoph* kant hegel wittgenstein
utilitarian* deontolog* existential* phenomenolog* hermeneutic* determinism compatibilis* qualia
trolley_problem social_contract rawls nihilis* stoic* geopolitic* sovereign* constitutional_law
hegemon* colonial* postcolonial* dialectic* hegemony monetary fiscal_policy interest_rate*
quantitative_easing yield_curve option_pricing black-scholes capital_structure wacc irr npv dcf
portfolio volatility arbitrage stochastic_calculus game_theor* principal-agent moral_hazard
adverse_selection externalit* elasticit* causal_inference difference-in-differences
regression_discontinuity confounder* heteroskedastic* collinear* epigenet* genom* crispr phylogen*
proteom* metaboli* neurotransmit* plasticity photosynth* thermodynamics schrödinger
hamiltonian_mechanics lagrangian gauge entangle* superconduct* black_hole* dark_matter
general_relativity renormaliz* eigenstate decoherence navier-stokes turbulen* aerodynam* kinetics
stoichiometr* enthalpy equilibrium_constant climate_model* plate_tectonic* philosophi* ethik
ethisch* erkenntnistheor* quantenmechanik relativitätstheorie volkswirtschaft* geldpolitik
évolution éthique mécanique_quantique relativité politique_monétaire filosofí* ética
mecánica_cuántica relatividad política_monetaria termodinám* filosofi* mecânica_quântica
relatividade política_monetária termodinâm* etica meccanica_quantistica relatività termodinam*
filozof* etyk* kwantow* względności философ* этик* квантов* относительн* термодинам* felsef* etik
kuantum görelilik 伦理 道德 自由意志 认识论 本体论 货币政策 博弈 估值 因果推断 热力学 宇宙 黑洞
进化 熵 倫理 道徳 認識論 存在論 金融政策 評価額 因果推論 熱力学 進化 エントロピー 윤리 자유의지
인식론 통화정책 열역학 상대성 진화 엔트로피 فلسفة أخلاق النسبية الكم दर्शन नैतिक
measurement_problem observer twin_paradox rocket train_paradox frame_of_reference rest_frame
inertia angular_momentum conserved conservation_of symmetry_breaking dark_energy big_bang
second_law free_energy reaction_mechanism catalys* chirality orbital gene_drive speciation fitness
kin_selection entropia velocità_della_luce relatività_generale evoluzione coscienza libero_arbitrio
paradosso entropie vitesse_de_la_lumière conscience libre_arbitre paradoxe thermodynamique
quantique entropía velocidad_de_la_luz conciencia libre_albedrío paradoja termodinámica cuántic*
velocidade_da_luz consciência livre-arbítrio paradoxo termodinâmica quântic* lichtgeschwindigkeit
willensfreiheit paradoxon energieerhaltung drehimpuls 光速 惯性 守恒 悖论 参考系 飞船 引力 电磁 场
真空 选择压力 慣性 保存則 逆説 パラドックス 参照系 重力 電磁 宇宙船 광속 관성 보존 역설 중력 전자기
진공 विरोधाभास गुरुत्व प्रकाश सापेक्षता مفارقة جاذبية وعي
"""

FIELDS: Final = (
    ("mathematics", MATHEMATICS),
    ("systems", SYSTEMS),
    ("law", LAW),
    ("medicine", MEDICINE),
    ("learned", LEARNED),
)
