"""The words that tell small tasks and ordinary work from each other, by group, in many languages.

Data only; the form of an entry is told in `vocabulary`, the words of depth are in
`vocabulary_depth`.
"""
# ruff: noqa: RUF001 - letters of other alphabets are meant

from typing import Final

SMALLTALK: Final = """
lol hi hey hello hiya yo sup howdy hallo moin servus hoi hola buenas salut bonjour
bonsoir coucou ciao salve buongiorno buonasera oi olá ola opa hej cześć czesc siema dzień_dobry
привет здравствуй* здорово merhaba selam hei hejsan ahoj szia γεια cheers thanks thx thank ty tysm
danke dankeschön gracias merci grazie obrigad* valeu dank bedankt dzięki dzięk* dziękuj* спасибо
teşekkür* sağol haha* hehe* kkk* rsrs jaja* mdr good_morning good_night good_evening good_afternoon
guten_morgen guten_tag guten_abend gute_nacht buenos_días buenas_noches buenas_tardes bom_dia
boa_noite boa_tarde bonne_nuit bonne_journée buonanotte goedemorgen goedenacht доброе_утро
добрый_день спокойной_ночи how_are_you how's_it_going hows_it_going what's_up whats_up wie_geht
cómo_estás como_estas tudo_bem ça_va come_stai как_дела nasılsın witz chiste blague piada
barzelletta шутк* bye goodbye tschüss adiós tchau sleep_well happy_birthday 你好 您好
嗨 谢谢 早上好 晚安 早安 再见 哈哈 在吗 笑话 こんにちは こんばんは おはよう ありがとう おやすみ
やあ どうも 안녕 고마워 감사합니다 수고 잘_자 مرحبا السلام شكرا صباح_الخير नमस्ते धन्यवाद สวัสดี
ขอบคุณ see_you take_care nice_to_meet have_a_nice have_a_good good_to_see hope_you you_too
no_problem no_worries congrats congratulations lmao rofl hru wyd gm gn hallöchen tach moinsen
grüezi grüß_dich bis_morgen schönes_wochenende mach's_gut à_bientôt à_demain de_rien
hasta_luego hasta_mañana qué_tal que_tal de_nada até_logo até_amanhã tudo_bom a_presto tot_ziens
tot_morgen do_widzenia до_свидания до_завтра пожалуйста görüşürüz günaydın iyi_geceler tack goddag
kiitos terima_kasih 你好吗 拜拜 辛苦了 おっす ただいま お疲れ さようなら バイバイ 안녕하세요 반가워
مع_السلامة
"""

CHORE: Final = """
typo typos spelling spellcheck capitali* uppercase lowercase title_case sentence_case sort
alphabetical* reorder rename bump turn_this turn_into shorten synonym* antonym* pull_out sentiment
positive_or_negative which_language timer alarm remind reminder phone_number how_much_is
subject_line gitignore rephrase reword haiku emoji emojis slogan_for commit_message status book_me
put_this put_in turn_on turn_off finish_the bullets capitalise who_proved new_event create_an_event
order_number tippfehler rechtschreib* großschreib* sortier* umbenenn* entfern* kürzer umformulier*
sie-form wie_sagt_man erinner* wecker licht reihenfolge_alphabet* corrige fautes orthographe
traduire extrayez remets rappelle comment_dit-on corrige* ortografía ordena pásalo recuérdame
asunto corrija ortografia extraia ordene lembra lembre um_título correggi ricordami verbeter
sorteer alleen_de popraw posortuj przypomnij formuła исправь ошибки отсортируй напомни
переформулируй замени düzelt sırala hatırlat 改错 错别字 排序 判断情感 提醒 改得 开灯 关灯 快递单号
大写 誤字 並べ替え 敬語にして に変えて に変更して リマインド 영어로 맞춤법 정렬 분류 알려줘 바꿔
صحح grammatical proofread* punctuation conjugate past_tense present_tense opposite_of hashtag*
caption decode encode base64 hyphenate anonymize redact alphabetically in_order dedupe
remove_duplicates strip trim to_yaml pig_latin roman_numerals in_caps
check_spelling what_language detect_the tag_this hello_world reverse_a
add_a_comment set_an_alarm play_music call_mum call_mom shopping_list celsius fahrenheit kilometers
in_euros in_dollars round_to american_spelling british_spelling grammatik korrigier* verbesser*
gegenteil einkaufsliste großbuchstaben kleinbuchstaben setze_in mach_daraus grammaire corriger
conjugue contraire liste_de_courses en_majuscules synonyme mets_en mets_au gramática corregir
conjuga lista_de_la_compra convierte_a mayúscula minúscula sinónimo pon_en en_minúsculas corrigir
lista_de_compras sinônimo grammatica correggere coniuga lista_della_spesa sinonimo metti_in
al_plurale corrigeer vervang hernoem zet_in boodschappenlijst herschrijf_in gramatyk* odmień
lista_zakupów zamień posprawdzaj граммати* проспрягай список_покупок переименуй dilbilgisi
eş_anlamlı alışveriş_listesi büyük_harf 语法 同义词 反义词 购物清单 列出三个 合并同类 文法 直して
類義語 反対語 買い物リスト 置き換え ひらがな カタカナ 문법 고쳐 바꾸 맞춤 أصلح اكتب_عنوان
rename_the times_table in_letters
correggimi mettimi scrivi_in in_maiuscolo italiano_in riscrivi_con è_positivo in_tedesco
in_francese come_si_scrive mets_la mets_le mets_en_ordre en_allemand en_espagnol
donne_le donne-moi trie_par cambia_la dame_el dame_la en_alemán
en_francés soma metade_de me_dá em_alemão em_francês füge_hinzu streich*
ändere gib_mir_nur auf_spanisch auf_französisch に直して を足して
を消して ひらがなで カタカナで 短縮 敬語に 書き換え 大小写 换算 缩短
改短 润色一下 한국어로 바꿔줘 हिंदी_में अंग्रेज़ी_में अंग्रेजी_में जोड़ो हटाओ सुधारो बदलो
ठीक_करो
"""

TRANSFORM: Final = """
reformat convert translate translation into_spanish into_english into_german into_french to_english
to_german to_french to_spanish to_portuguese in_spanish in_german in_italian in_french extract
label classify übersetz* auf_englisch ins_englische auf_deutsch auf_italienisch traduis traduction
en_anglais en_français extrais traduce traducir traduz* al_inglés en_inglés inglés extrae clasifica
traduza p_ingles inglês para_o_inglês classifique traduci in_inglese estrai classifica vertaal
in_het_engels engels przetłumacz wyciągnij переведи* перевод извлеки çevir 翻译 用英语怎么说 英语
提取 分类 翻訳 英語で 抜き出し 分類 번역 추출 ترجم استخرج अनुवाद to_json as_json into_json
json_array csv_to to_csv which_category categor* convert_to umrechn* klassifizier* extrahier*
formatier* convertis converta converti 转换成 转成 変換 抽出 변환 which_tag traducimi extrais_le
英訳 和訳 英译 中译 译成 翻成 영어로_번역 на_английский на_немецкий
"""

LOOKUP: Final = """
what_does what_do_you_call who_wrote who_is who_was who_painted who_invented when_is when_was
where_is how_many how_much how_long how_old how_tall how_far how_do_i_say how_do_you_say how_do_u
which_room which_port what_time who_proved is_it_raining what_date whose_number capital_of capital
stand_for stands_for mean define perimeter radius biggest tallest longest was_ist
was_heißt was_bedeutet wer_war wie_viel wie_lange wo_ist hauptstadt wie_heißt welcher_wochentag
wann_ist größte c'est_quoi qu'est-ce_que que_veut_dire combien quel_est qui_a capitale signifie
quand_est qué_es cuál_es cuánto cuántos cuántas dónde_está como_quito cómo_se_dice capital_de
qué_significa o_que_é qual_é qual_o qual_a quantos quantas que_horas até_que cos'è che_cos'è
cosa_significa qual_è chi_ha perimetro wat_is hoeveel wie_is wat_betekent hoofdstad co_to kto
jaka_jest jaki_jest stolica co_znaczy что_такое кто_написал столица как_в где_находится ne_demek
nedir başkenti 多少 谁写 首都 什么意思 哪一年 哪里 怎么说 几点 有多少块 とは何 って何 は何 いくつ
いくら 意味 だれ 何ですか 違いを一言で 뭐야 무엇 ما_معنى عاصمة क्या_है कितने what_year which_year
which_country which_city what_country what_color what_colour who_discovered who_directed who_sang
who_won president_of population_of currency boiling_point melting_point freezing_point
atomic_number distance_between how_high how_deep how_fast how_heavy how_old_is birthday_of
author_of year_was stands short_for what_are_the_colors name_three name_two how_do_you_spell
what_day default_port http_status status_code keyboard_shortcut shortcut which_command command_to
install in_what_year synonym_for difference_in_a_sentence is_it_true_that square_root area_of
perimeter_of 24_hours calories vitamin_c in_welchem_jahr welches_land welche_farbe wer_hat_erfunden
wofür_steht abkürzung wie_alt wie_hoch einwohner siedepunkt was_sind_die wie_spät nenne
en_quelle_année quel_pays quelle_couleur qui_est qui_a_inventé qui_a_écrit âge_de hauteur
abréviation combien_de quelle_heure cite_trois où_se_trouve en_qué_año qué_país de_qué_color
quién_inventó quién_escribió abreviatura qué_hora dime_el cuántos_años en_que_año quien_escribio
cual_es que_es cuanto_es capital_del em_que_ano que_país que_cor quem_inventou quem_escreveu sigla
quantos_anos onde_fica cite in_che_anno quale_paese che_colore chi_ha_scritto chi_ha_inventato
che_ore quanti_anni dov'è in_welk_jaar welk_land welke_kleur wie_schreef afkorting hoe_oud hoe_heet
hoe_laat noem w_którym_roku jaki_kraj kto_napisał skrót która_godzina ile_ma gdzie_jest wymień
в_каком_году какая_страна кто_изобрел аббревиатура который_час сколько_лет назови расшифров*
hangi_yıl hangi_ülke kim_yazdı kısaltma saat_kaç kaç_yaşında nerede 哪个国家 什么颜色 谁发明 缩写
几岁 全称 哪个城市 叫什么 的英文 几月 多少度 何年 どの国 何色 誰が書 略 何歳 何時 どこに 英語で何
首相 何度 正式名称 أين राजधानी how_many_days how_many_people give_me_the where_was quanto_fa
quanto_costa qual_è_la che_giorno che_lingua chi_è cos_è cosa_vuol_dire come_si_dice quando_è
a_che_ora dove_si quel_jour quel_est_le c'est_quand c'est_où qui_était comment_on_dit combien_coûte
quelle_langue qu'est_ce_que où_est à_quelle_heure quelle_date quels_sont quel_âge qué_día
a_qué_hora dónde_queda cuántas_personas cómo_se_llama quién_es qué_idioma qué_fecha cuándo_es
qual_a_capital qual_o_nome que_dia quem_é quando_é onde_é como_se_diz quanto_custa qual_a_data
was_kostet wer_ist welcher_tag wann_war wie_sagt wie_schreibt_man was_sind welche_sprache
um_wie_viel 何曜日 何人 何個 何語 何月 何分 何円 正しいのは 何と言 何て 几号 星期几 谁是 单位是
怎么读 怎么写 拼音 几元 几人 多少钱 多长 是几 叫什么名字 언제 몇개 누구 읽는 क्या_मतलब कौन_सा अर्थ
ما_اسم من_هو который_день сколько_стоит как_называется кто_такой когда_был какого_цвета hangi_gün
ne_zaman_oldu kim_bu ne_kadar welke_dag hoeveel_kost wat_zijn jak_się_nazywa kiedy_jest
ile_kosztuje
"""

BREVITY: Final = """
just quickly briefly one_word one_line one_sentence one-liner one_liner in_a_sentence two_lines
few_words nothing_else no_explanation tl;dr tldr single_word pls plz tiny beginner just_the
just_that answer_is_fine is_enough yes/no kurz kurzes schnell ein_wort in_einem_satz ein_satz juste
vite courte bref un_mot une_phrase en_une_phrase stp svp rápido una_frase una_palabra en_una_frase
una_línea uma_frase uma_palavra em_uma_frase em_uma_linha uma_linha veloce in_una_frase una_parola
kort gewoon snel één_zin 1_woord een_woord krótko szybko jednym_zdaniem jedno_słowo кратко коротко
быстро одним_словом одном_предложении kısa kısaca tek_kelime tek_cümle 一句话 一个词 简短 一言で
一文で 만_알려 간단 باختصار जल्दी one_or_two_words single_line in_brief no_more_than_a in_a_word
in_a_few quick_question in_due_parole due_righe in_breve una_riga in_deux_mots en_bref deux_lignes
en_una_sola en_dos_líneas em_duas_linhas resumidamente in_einem_wort in_zwei_sätzen kurz_und_knapp
een_zin een_regel jedna_linijka в_двух_словах одной_строкой iki_cümle tek_satır 一行 一行で 两句话
一个字 几个字 ひとこと 二文で 手短に 한_줄 한마디 एक_वाक्य एक_शब्द yes_or_no true_or_false
answer_with answer_only reply_with only_reply réponds_par oui_ou_non responde_con sí_o_no
responda_com sim_ou_não antworte_mit ja_oder_nein はいかいいえ 是或否 只回答 예_아니오 да_или_нет
ответь_одним sì_o_no tak_lub_nie ja_of_nee evet_mi_hayır_mı 是还是否 antworte_nur
réponds_seulement responde_solo rispondi_con antwoord_met odpowiedz
"""

COMPOSE: Final = """
write draft compose explain describe compare contrast summari* outline plan schedule itinerary
create make build implement add refactor generate list design review suggest recommend rewrite
essay story poem scene letter speech post report page pages paragraph* table bullet* steps example
examples words headings section sections script function component endpoint class module tests test
readme docs documentation agenda checklist guide leaflet memo briefing budget pros cons advantages
versus vs difference differences per_week weekly daily month months style tone audience dialogue
schreib* verfass* erklär* vergleich* fass* zusammenfass* plan* entwirf erstell* bau* beschreib*
tabelle seite absatz beispiel* wörter gedicht geschichte rede brief vorteile nachteile stil écris
écrire rédige* explique* compare* résume* propose* planifi* crée tableau exemple* mots lettre
courriel avantages inconvénients ton fais-moi pourquoi étudier escrib* redact* explic* compar*
resum* organiz* crea* tabla ejemplo* pruebas palabras carta guion calendario ventajas desventajas
tono diferenc* lista necesito convierte clasifica escrev* redij* expliq* monte faz faça organize*
crie tabela exemplo* testes palavras tom vantagens desvantagens diferença* roteiro reescrev* resumo
scrivi spiega* confronta riassumi piano crea tabella esempi* parole lettera vantaggi svantaggi
perché schrijf* leg_uit vergelijk* vat_samen maak tabel voorbeeld* woorden bereken* napisz*
wyjaśnij* porównaj* streść podsumuj zaplanuj przykład* testy słów dodaj podaj напиши* объясни*
сравни* составь план таблиц* пример* тесты слов письмо сказк* почему перепиши* yaz açıkla*
karşılaştır* özetle* anlat tablo örnek* 写 解释 说明 比较 总结 整理 规划 计划 列出 表格 示例 测试
要点 步骤 文章 故事 排期 列表 设计 書いて 説明 比較 要約 まとめ 計画 表に 例 テスト 解説 実装 作成
字くらい 써줘 작성 설명 비교 요약 정리 계획 표로 예시 테스트 일정 اكتب اشرح قارن لخص خطة लिखो समझाओ
तुलना elaborate discuss analyse analyze analysis overview thorough detailed in_detail in_depth
comprehensive tutorial walkthrough walk_me_through teach lesson curriculum study_plan workout
meal_plan recipe business_plan marketing pitch proposal cover_letter resume cv newsletter blog
article press_release transcript minutes action_items user_stor* acceptance_criteria roadmap
timeline milestones analysier* ausführlich* detailliert* überblick anleitung konzept bewerbung
lebenslauf artikel leitfaden analyse* détaill* aperçu tutoriel article_de lettre_de_motivation
étapes analiz* detallad* resumen_de artículo carta_de_presentación pasos analis* detalhad* artigo
carta_de_apresentação passos passo_a_passo paso_a_paso analizz* dettagliat* articolo
lettera_di_presentazione passaggi analyseer* gedetailleerd* stappenplan analizuj* szczegółow*
artykuł подробн* статью проанализируй analiz_et ayrıntılı makale 分析 详细 概述 教程 方案 提纲 邮件
简历 分步 詳しく 概要 チュートリアル 提案 手順 記事 分析して 분석 자세히 개요 튜토리얼 제안서
단계별 حلل بالتفصيل مقال विश्लेषण विस्तार
"""

ENGINEERING: Final = """
api endpoint* migration* schema typescript react vue angular flask django fastapi nextjs next.js
express nginx docker kubernetes terraform postgres* mysql sqlite snowflake bigquery clickhouse
redis kafka pytest jest vitest unit_test* debounce cache caching pagination cursor retry backoff
timeout* async await generic* parser regex webhook* oauth github_actions ci pipeline query queries
join cte window_function index dataframe pandas container* microservice* logging upload csv json
yaml openapi edge_cases type_hints hook hooks css html frontend backend server client database orm
trigger datenbank abfrage schnittstelle komponente consulta componente base_de_datos requête
base_de_données banco_de_dados database_query zapytanie baza_danych запрос базу базы veritabanı
数据库 接口 组件 缓存 函数 データベース 関数 コンポーネント 데이터베이스 함수 컴포넌트
"""

EASE: Final = (
    ("smalltalk", SMALLTALK),
    ("chore", CHORE),
    ("transform", TRANSFORM),
    ("lookup", LOOKUP),
    ("brevity", BREVITY),
    ("compose", COMPOSE),
    ("engineering", ENGINEERING),
)
